"""sbom.py: says what is linked into the static sensor, by what the linker and the compiler say they read.

Writes an SPDX 2.3 document and a directory of licence texts. An archive that belongs to no known
package, or a package without a licence in the table, is an error: nothing gets in unnoticed.
"""
import argparse
import fnmatch
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import uuid
from datetime import datetime, timezone

BUILT = {"libzmq.a": "zeromq3", "libpcap.a": "libpcap"}
COMMON = pathlib.Path("/usr/share/common-licenses")


class Component:
    """One package of which something is in the program. `copyright` is Debian's file."""

    def __init__(self, name, version, source, copyright_file, sha256=None, arch="source"):
        self.name, self.version, self.source = name, version, source
        self.copyright, self.sha256, self.arch = copyright_file, sha256, arch


def table(path):
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.split()


def linker_inputs(map_file):
    """The archives of which members were linked, and the start files."""
    text = map_file.read_text(errors="replace")
    archives = set(re.findall(r"^(\S+\.a)\(\S+\)", text.split("\nDiscarded input")[0], re.MULTILINE))
    objects = set(re.findall(r"^LOAD (/\S+\.o)$", text, re.MULTILINE))
    if not archives or not objects:
        raise ValueError(f"{map_file} is not a map that this understands")
    return archives | objects


class Packages:
    def __init__(self, args):
        self.work, self.root, self.libc = args.work, args.work / "root", args.work / "libc"
        self.arch = args.arch
        self.pins = {(row[0], row[1]): row for row in table(args.pins)
                     if len(row) == 5 and not row[4].endswith((".tar.gz", ".tar.xz", ".asc"))}
        self.owner = {}
        for listing in (self.work / "files").iterdir():
            if not listing.name.endswith(".source"):
                for file in listing.read_text().splitlines():
                    self.owner[file] = listing.name

    def of_input(self, path):
        """The component a file that the linker read belongs to; None for our own."""
        path = pathlib.Path(os.path.normpath(path))
        if not path.is_absolute() or path.is_relative_to(self.work / "build"):
            return None
        if path.is_relative_to(self.root):
            if path.name in BUILT:
                return self.from_source(BUILT[path.name])
            return self.from_deb(self.owner[str(path.relative_to(self.root))])
        if path.is_relative_to(self.libc):
            return self.from_deb(self.owner[str(path.relative_to(self.libc))])
        return self.from_machine(path)

    def of_header(self, path):
        """Headers bring inline code."""
        path = pathlib.Path(path)
        if not path.is_relative_to(self.root):
            return None
        name = self.owner.get(str(path.relative_to(self.root)))
        return self.from_deb(name) if name else None

    def from_source(self, name):
        _, _, version, sha256, _ = self.pins[name, "source"]
        return Component(name, version, f"{name} {version}", self.work / "copyright" / name, sha256)

    def from_deb(self, name):
        _, _, version, sha256, _ = self.pins[name, self.arch]
        source = (self.work / "files" / f"{name}.source").read_text().strip()
        return Component(name, version, source, self.work / "copyright" / name, sha256, self.arch)

    @staticmethod
    def from_machine(path):
        """The compiler's own libraries: the package installed here."""
        found = subprocess.run(["dpkg", "-S", os.path.realpath(path)], check=True, text=True,
                               capture_output=True).stdout
        name = found.split(":")[0]
        form = "${Version}\t${source:Package} ${source:Version}\t${Architecture}\n"
        version, source, arch = subprocess.run(
            ["dpkg-query", "-W", "-f", form, name], check=True, text=True,
            capture_output=True).stdout.splitlines()[0].split("\t")
        if not name.startswith(("libgcc-", "libstdc++-")):
            raise ValueError(f"{path} of {name} was linked in, which is neither pinned nor the compiler's")
        return Component(name, version, source, pathlib.Path("/usr/share/doc", name, "copyright"),
                         arch=arch)


def components(args):
    packages, found = Packages(args), {}
    for path in linker_inputs(args.map):
        component = packages.of_input(path)
        if component:
            found[component.name] = component
    for line in args.deps.read_text().splitlines():
        component = line.startswith("    ") and packages.of_header(line.strip())
        if component:
            found.setdefault(component.name, component)
    return [found[name] for name in sorted(found)]


def licence(name, path):
    for pattern, *words in table(path):
        if fnmatch.fnmatchcase(name, pattern):
            return " ".join(words)
    raise ValueError(f"{name} is linked in and has no licence in {path}")


def spdx_id(name):
    return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", name)


def spdx_package(component, expression):
    arch = f"?arch={component.arch}"
    package = {
        "name": component.name,
        "SPDXID": spdx_id(component.name),
        "versionInfo": component.version,
        "supplier": "Organization: Debian",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "sourceInfo": f"Debian source package {component.source}",
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": expression,
        "copyrightText": "NOASSERTION",
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": f"pkg:deb/debian/{component.name.replace('+', '%2B')}"
                                f"@{component.version.replace('+', '%2B').replace(':', '%3A')}{arch}",
        }],
    }
    if component.sha256:
        package["checksums"] = [{"algorithm": "SHA256", "checksumValue": component.sha256}]
    return package


def spdx_sensor(args, version, sha256):
    return {
        "name": "hirundo-sensor",
        "SPDXID": "SPDXRef-hirundo-sensor",
        "versionInfo": version,
        "packageFileName": f"hirundo-sensor-{args.arch}",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "checksums": [{"algorithm": "SHA256", "checksumValue": sha256}],
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "Apache-2.0",
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "APPLICATION",
    }


def spdx(args, parts):
    sha256 = hashlib.sha256(args.program.read_bytes()).hexdigest()
    version = re.search(r"version: '([^']+)'", (args.top / "meson.build").read_text())[1]
    created = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), timezone.utc)
    expressions = {part.name: licence(part.name, args.licenses_table) for part in parts}
    exception = args.work / "source/zeromq3/COPYING.LESSER"
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"hirundo-sensor-{version}-{args.arch}",
        "documentNamespace": uuid.uuid5(uuid.NAMESPACE_OID, sha256).urn,
        "creationInfo": {
            "created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": ["Tool: hirundo-deploy-static-build"],
        },
        "packages": [spdx_sensor(args, version, sha256)] +
                    [spdx_package(part, expressions[part.name]) for part in parts],
        "relationships": [{
            "spdxElementId": "SPDXRef-DOCUMENT",
            "relationshipType": "DESCRIBES",
            "relatedSpdxElement": "SPDXRef-hirundo-sensor",
        }] + [{
            "spdxElementId": "SPDXRef-hirundo-sensor",
            "relationshipType": "STATIC_LINK",
            "relatedSpdxElement": spdx_id(part.name),
        } for part in parts],
        "hasExtractedLicensingInfos": [{
            "licenseId": "LicenseRef-LGPL-3.0-or-later-with-libzmq-exception",
            "name": "LGPL 3.0 or later with libzmq's static linking exception",
            "extractedText": exception.read_text(),
        }],
    }


README = """What is linked into hirundo-sensor-{arch}, and under which licence. The copyright files are Debian's;
the texts they name are in common-licenses/.

{rows}

Some of these are under the GNU LGPL. Their sources are the Debian source packages named, of the versions
named; hirundo's own are published with it. Whoever wants to link the program with a changed version
of one of them puts that version in its place in deploy/static/pins and runs deploy/static/build.
"""


def write_licenses(args, parts):
    args.licenses.mkdir()
    common, rows = {"Apache-2.0"}, [("hirundo", "", "Apache-2.0")]
    shutil.copyfile(args.top / "LICENSE", args.licenses / "hirundo")
    for part in parts:
        shutil.copyfile(part.copyright, args.licenses / part.name)
        text = part.copyright.read_text(errors="replace")
        common |= {name.rstrip(".") for name in re.findall(r"/common-licenses/([\w.+-]+)", text)}
        rows.append((part.name, part.source, licence(part.name, args.licenses_table)))
    (args.licenses / "common-licenses").mkdir()
    for name in sorted(common):
        if (COMMON / name).is_file():
            shutil.copyfile(COMMON / name, args.licenses / "common-licenses" / name)
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    lines = "\n".join(f"{n:{widths[0]}}  {s:{widths[1]}}  {e}" for n, s, e in rows)
    (args.licenses / "README").write_text(README.format(arch=args.arch, rows=lines))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--arch", required=True)
    for name in ("program", "map", "deps", "pins", "licenses-table", "work", "top", "licenses", "sbom"):
        parser.add_argument(f"--{name}", required=True, type=pathlib.Path)
    args = parser.parse_args()
    try:
        parts = components(args)
        document = spdx(args, parts)
        write_licenses(args, parts)
    except (OSError, ValueError, KeyError, subprocess.CalledProcessError) as error:
        sys.exit(f"sbom.py: {type(error).__name__}: {error}")
    args.sbom.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


main()
