# SPDX-License-Identifier: GPL-2.0-only
"""Carries out in a machine what a build or a test there takes: requests are lines on standard input, each an
object, and so are the answers on standard output. Bytes are in base64."""
import base64
import errno
import json
import os
import re
import shutil
import subprocess
import sys

kmsg = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
os.lseek(kmsg, 0, os.SEEK_END)


def read(path, limit=None):
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if limit is not None and size > limit:
            raise OSError(errno.EFBIG, f"it has {size} bytes, and at most {limit} are taken", path)
        data = b""
        while piece := file.read(65536):
            data += piece
    return data


def taint():
    return int(read("/proc/sys/kernel/tainted"))


def op_look(_):
    release = os.uname().release
    build = f"/lib/modules/{release}/build"
    said = {"release": release, "version": os.uname().version, "build": None, "build_release": None, "taint": taint()}
    if os.path.exists(build + "/Makefile"):
        said["build"] = os.path.realpath(build)
        # What is there ends up in a module's vermagic.
        header = read(build + "/include/generated/utsrelease.h").decode()
        said["build_release"] = header.split('"')[1]
    said["source"] = os.path.ismount("/src")
    if not os.path.ismount("/sys/kernel/debug"):
        subprocess.run(["mount", "-t", "debugfs", "none", "/sys/kernel/debug"], check=False)
    return said


def op_read(request):
    return {"data": base64.b64encode(read(request["path"], request.get("limit"))).decode()}


def names_in(path):
    try:
        with open(path, encoding="utf-8") as file:
            return [line.partition(":")[0].split()[0] for line in file if line.strip()]
    except FileNotFoundError:
        return []


def op_kernel(_):
    """What modules are judged by, beside what is in the headers: the files of the kernel's modules, what is built in,
    what of that is seen in /sys, and where the smallest module of the kernel's own is."""
    folder = f"/lib/modules/{os.uname().release}/"
    modules = names_in(folder + "modules.dep")
    files = [folder + path for path in modules if path.startswith("kernel/") and os.path.isfile(folder + path)]
    loaded = names_in("/proc/modules")
    return {"modules": modules, "builtin": names_in(folder + "modules.builtin"),
            "in_sysfs": sorted(set(os.listdir("/sys/module")) - set(loaded)),
            "own": min(files, key=os.path.getsize, default=None)}


def op_mirror(request):
    """Has a folder of links to these files, and of no others; what a build has made there stays."""
    root, links = request["root"], request["links"]
    keep = set(request["keep"])
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, root)
            if os.path.islink(path) and relative not in links and relative not in keep:
                os.unlink(path)
    for relative, target in links.items():
        path = os.path.join(root, relative)
        if os.path.islink(path) and os.readlink(path) == target:
            continue
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink(target, path)
    return {}


def op_put(request):
    path, data = request["path"], base64.b64decode(request["data"])
    try:
        if not os.path.islink(path) and read(path) == data:
            return {"changed": False}
    except OSError:
        pass
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)
    with open(path, "wb") as file:
        file.write(data)
    return {"changed": True}


def op_ask(request):
    descriptor = os.open(request["path"], os.O_RDWR)
    try:
        os.write(descriptor, request["input"].encode())
        return {"data": base64.b64encode(os.read(descriptor, 65536)).decode()}
    finally:
        os.close(descriptor)


def op_toolchain(request):
    """The Rust compiler of a folder, as far as there is one, and what it says of itself. rustup is not on the path of
    those who come by ssh."""
    path = os.environ.get("PATH", os.defpath) + ":" + os.path.expanduser("~/.cargo/bin")
    said = {"path": path, "rustc": shutil.which("rustc", path=path), "cargo": shutil.which("cargo", path=path)}
    if not said["rustc"]:
        return said

    def ask(*words):
        done = subprocess.run([said["rustc"], *words], cwd=request["dir"], env=os.environ | {"RUSTC_BOOTSTRAP": "1"},
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return done.stdout.decode(errors="replace")

    said["version"] = ask("-vV")
    said["library"] = ask("--print", "sysroot").strip() + "/lib/rustlib/src/rust/library"
    said["has_library"] = os.path.isfile(said["library"] + "/Cargo.lock")
    vendored = said["library"] + "/vendor"
    said["vendored"] = vendored if os.path.isdir(vendored) else None
    said["flags"] = ask("-Zhelp")
    return said


def op_run(request):
    try:
        done = subprocess.run(request["words"], cwd=request.get("dir"), env=os.environ | request.get("environment", {}),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except FileNotFoundError:
        return {"status": 127, "data": ""}
    return {"status": done.returncode, "data": base64.b64encode(done.stdout[-(1 << 20):]).decode()}


def op_state(_):
    """What the kernel has said since the last time, its taint, and its modules."""
    lines = []
    while True:
        try:
            record = os.read(kmsg, 8192)
        except BlockingIOError:
            break
        except BrokenPipeError:
            # Some were written over before they were read.
            continue
        prefix, _, text = record.decode(errors="replace").partition(";")
        seconds, micros = divmod(int(prefix.split(",")[2]), 1000000)
        # As a console has it, with what the kernel has escaped.
        text = re.sub(r"\\x([0-9a-f]{2})", lambda code: chr(int(code[1], 16)), text.partition("\n")[0])
        lines += [f"[{seconds:5}.{micros:06}] {line}" for line in text.split("\n")]
    modules = [line.split()[0] for line in read("/proc/modules").decode().splitlines()]
    return {"log": lines, "taint": taint(), "modules": modules}


for line in sys.stdin:
    request = json.loads(line)
    try:
        said = globals()["op_" + request["op"]](request)
    except OSError as error:
        said = {"errno": error.errno or errno.EIO, "error": str(error)}
    said["id"] = request["id"]
    print(json.dumps(said), flush=True)
