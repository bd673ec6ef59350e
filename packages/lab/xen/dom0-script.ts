// dom0's side: an init script on busybox that starts Xen's daemons, takes one guest after the other through its life and
// leaves everything on the second disk. It tells the host where it is by lines "@xen:…" on Xen's console.
import { beatsWanted } from "./guest-script.ts";
import type { XenGuest } from "./types.ts";

/**
 * Seconds that a guest may be still before it counts as hung: before its console's first byte, when what it says early to Xen
 * is all there is to see, then after.
 */
const STILL_BEFORE_CONSOLE = 300;
const STILL_SECONDS = 60;
export const CREATE_SECONDS = 300;
export const BOOT_SECONDS = 720;
export const DUMP_SECONDS = 420;

/** First page frames behind the guest's RAM: `xl dump-core` would ask Xen for each of the million up to 4 GiB. */
function holes(guest: XenGuest): readonly [string, string] {
  return [(guest.memoryMegabytes * 256).toString(16), "f0000"];
}

/** What dom0's init sources as /out/job.sh: the guests of one session. */
export function jobScript(guests: readonly XenGuest[]): string {
  return guests
    .map((guest) => `guest ${guest.name} ${guest.vcpus} ${beatsWanted(guest.vcpus)} ${holes(guest).join(" ")}\n`)
    .join("");
}

/** dom0's init. `modules` in load order, `xenTools` the folder of xl and the daemons, `libraries` where theirs lie. */
export function dom0Init(modules: readonly string[], xenTools: string, libraries: readonly string[]): string {
  return `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /out /var/log/xen/console /var/lib/xen/dump /etc/xen
/bin/busybox --install -s /bin
export PATH=${xenTools}:/usr/sbin:/usr/bin:/sbin:/bin LD_LIBRARY_PATH=${libraries.join(":")} HOME=/
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev; mount -t tmpfs t /run; mount -t tmpfs t /tmp
mkdir -p /run/xenstored /run/xen /run/lock /dev/pts /dev/shm; mount -t devpts d /dev/pts; mount -t tmpfs t /dev/shm
ln -sfn /run /var/run; ln -sfn /run/lock /var/lock
say() { echo "@xen:$*"; }; : > /etc/xen/xl.conf
up() { cut -d. -f1 /proc/uptime; }
off() { say "off"; dmesg > /out/dom0-dmesg.txt; sync; umount /out; echo o > /proc/sysrq-trigger; sleep 60; }
fail() { say "fault $*"; off; }
say "up $(up)"
for m in ${modules.join(" ")}; do insmod /mod/$m.ko || say "note module $m"; done
n=0; while [ ! -b /dev/vda ] && [ $n -lt 30 ]; do sleep 1; n=$((n+1)); done
mount -t ext4 /dev/vda /out || fail "the disk cannot be mounted"
mount -t xenfs x /proc/xen; grep -q control_d /proc/xen/capabilities || fail "this is no dom0"
xenstored --pid-file /run/xenstored.pid
n=0; while ! timeout 10 xenstore-read / >/dev/null 2>&1; do n=$((n+1)); [ $n -gt 40 ] && fail "xenstored does not answer"; sleep 1; done
xen-init-dom0 || fail "xen-init-dom0"
xenconsoled --pid-file=/run/xenconsoled.pid --log=guest --log-dir=/var/log/xen/console
xl info > /out/xl-info.txt; say "tools $(up)"
column() { xl list $1 2>/dev/null | while read -r a b c e f g; do [ "$a" = "$1" ] && echo $f; done; }
guest() { # NAME VCPUS BEATS HOLES-FROM HOLES-TO
  n=$1; d=/out/$n; log=/var/log/xen/console/guest-$n.log; start=$(up); rm -f $log
  say "$n create $start"
  timeout ${CREATE_SECONDS} xl -v create $d/guest.cfg > $d/create.log 2>&1; rc=$?
  say "$n created $rc $(up)"
  [ $rc = 0 ] || { cp /var/log/xen/*.log $d/ 2>/dev/null; sync; say "$n done"; return; }
  last=; since=$(up); i=0; outcome=; size=0; beats=0; id=$(xl domid $n)
  while [ -z "$outcome" ]; do
    sleep 4; i=$((i+1)); now=$(up)
    size=$(stat -c %s $log 2>/dev/null || echo 0); beats=$(grep -c '@lab:beat' $log 2>/dev/null); said=$(grep -c '@lab:' $log 2>/dev/null)
    progress=$size; limit=${STILL_SECONDS}
    [ "$size" = 0 ] && { limit=${STILL_BEFORE_CONSOLE}; progress="x$(xl dmesg 2>/dev/null | grep "(d$id)" | tail -n 1 | tr -dc 0-9)"; }
    [ "\${said:-0}" -gt 0 ] && progress=l$said
    [ "$progress" = "$last" ] || { last=$progress; since=$now; }
    [ $((i%3)) = 0 ] && { state=$(column $n); say "$n tick $((now-start)) $size \${beats:-0} \${state:-gone} $((now-since))"; }
    case "$state" in *s*|*c*) outcome="crashed domain-state-$state";; gone) outcome="crashed domain-gone";; esac
    grep -q 'Kernel panic - not syncing' $log 2>/dev/null && outcome="crashed kernel-panic"
    [ "\${beats:-0}" -ge $3 ] && outcome="booted beats"
    [ -z "$outcome" ] && [ $((now-since)) -ge $limit ] && outcome="hung still-for-$((now-since))"
    [ -z "$outcome" ] && [ $((now-start)) -ge ${BOOT_SECONDS} ] && outcome="slow still-moving"
  done
  say "$n outcome $outcome \${beats:-0} $(up)"
  xl pause $n
  xl vcpu-list $n > $d/vcpus.txt 2>&1; xl list -l $n > $d/domain.json 2>&1
  v=0; while [ $v -lt $2 ]; do echo "vcpu $v"; timeout 60 xenctx -a $id $v; v=$((v+1)); done > $d/xenctx.txt 2>&1
  cp $log $d/console.txt; xl dmesg > $d/xl-dmesg.txt; cp /var/log/xen/qemu-dm-$n.log $d/ 2>/dev/null; sync
  say "$n dump $(up)"
  SKIP_LO=$4 SKIP_HI=$5 LD_PRELOAD=/usr/lib/skip-holes.so timeout ${DUMP_SECONDS} xl dump-core $n $d/core > $d/dump.log 2>&1; rc=$?
  sync; say "$n dumped $rc $(stat -c %s $d/core 2>/dev/null || echo 0) $(up)"
  timeout 120 xl destroy $n; say "$n done"
}
. /out/job.sh
off
`;
}
