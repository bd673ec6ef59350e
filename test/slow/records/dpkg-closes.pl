# What dpkg itself reads from changelogs: one line per entry, "FILE VERSION closes=… launchpad=…". Files come on stdin.
use strict;
use warnings;
use Dpkg::Changelog::Parse;
use Dpkg::Vendor qw(run_vendor_hook);

while (my $file = <STDIN>) {
    chomp $file;
    my @entries = eval { changelog_parse(file => $file, format => 'rfc822', all => 1) };
    for my $entry (@entries) {
        my $closes = $entry->{'Closes'} // '';
        my $launchpad = $entry->{'Launchpad-Bugs-Fixed'} // '';
        print join("\t", $file, $entry->{'Version'} // '', $closes, $launchpad), "\n";
    }
}
