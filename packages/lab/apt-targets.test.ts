import { describe, expect, it } from "vitest";
import { detectMirrors, parseIndexTargets, parseMadison, sourcesList } from "./apt-targets.ts";

const deb822 = `MetaKey: main/binary-amd64/Packages
ShortDesc: Packages
Codename: bookworm
Release: bookworm
Repo-URI: http://mirror.invalid/debian/
Site: http://mirror.invalid/debian
Signed-By: /usr/share/keyrings/some.gpg

MetaKey: main/binary-amd64/Packages
Release: bookworm-updates
Repo-URI: http://other.invalid/debian/

MetaKey: main/binary-amd64/Packages
Release: bookworm-security
Repo-URI: http://mirror.invalid/debian-security/

MetaKey: main/binary-amd64/Packages
Release: nodistro
Repo-URI: http://node.invalid/node/
`;

describe("mirror detection", () => {
  it("takes the first Debian archive and the security archive", () => {
    expect(detectMirrors(parseIndexTargets(deb822))).toEqual({
      main: { uri: "http://mirror.invalid/debian/", signedBy: "/usr/share/keyrings/some.gpg" },
      security: { uri: "http://mirror.invalid/debian-security/", signedBy: "" },
    });
  });
  it("does without a security archive", () => {
    const mirrors = detectMirrors([{ release: "trixie", repoUri: "file:/mirror/", signedBy: "" }]);
    expect(mirrors.security).toBeUndefined();
    expect(sourcesList(mirrors, ["sid", "trixie-security"], undefined)).toBe("deb file:/mirror/ sid main\n");
  });
  it("does not take a keyring that is embedded text, nor a URI with a space in it", () => {
    const key = { release: "sid", repoUri: "http://mirror.invalid/debian/", signedBy: "-----BEGIN PGP PUBLIC KEY" };
    expect(detectMirrors([{ ...key, repoUri: "x [trusted=yes] y" }, key]).main).toEqual({
      uri: "http://mirror.invalid/debian/",
      signedBy: "",
    });
  });
  it("says so when there is none", () => {
    expect(() => detectMirrors(parseIndexTargets("Release: noble\nRepo-URI: http://ubuntu.invalid/\n"))).toThrow(
      "apt on this machine has no Debian archive among its sources",
    );
    expect(parseIndexTargets("")).toEqual([]);
  });
});

describe("sourcesList", () => {
  it("writes a line for each suite, signed by the machine's key or by the default one", () => {
    const mirrors = detectMirrors(parseIndexTargets(deb822));
    expect(sourcesList(mirrors, ["bullseye", "bullseye-security"], "/k.gpg")).toBe(
      "deb [signed-by=/usr/share/keyrings/some.gpg] http://mirror.invalid/debian/ bullseye main\n" +
        "deb [signed-by=/k.gpg] http://mirror.invalid/debian-security/ bullseye-security main\n",
    );
  });
});

describe("parseMadison", () => {
  it("reads packages and versions once each, and no sources", () => {
    const text = ` linux-image-6.1.0-56-amd64 | 6.1.192-1 | http://mirror.invalid/debian bookworm/main amd64 Packages
 linux-image-6.1.0-56-amd64 | 6.1.192-1 | http://mirror.invalid/debian-security bookworm-security/main amd64 Packages
linux-signed-amd64 | 6.1.192+1 | http://mirror.invalid/debian bookworm/main Sources
N: nonsense
`;
    expect(parseMadison(text)).toEqual([
      { package: "linux-image-6.1.0-56-amd64", version: "6.1.192-1", suite: "bookworm" },
    ]);
  });
});
