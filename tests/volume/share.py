"""A file system like a share: it passes everything on to another directory, except for what its switches say.

    share.py DIRECTORY MOUNTPOINT SWITCH...

    chmod=ignored|refused   changes of modes have no effect, or fail with EPERM
    files=MODE dirs=MODE    the mode that every file, every directory has
    uid=UID gid=GID         the user and the group to whom all of it belongs
    names=alike             upper and lower case are the same in names, and so are the forms of Unicode
    fsyncdir=refused        directories cannot be synced (EINVAL)
    symlink=refused         there are no symbolic links (ENOSYS)

It needs python3-fusepy (Debian), runs in the foreground, and ends when it is unmounted.
"""

import errno
import os
import stat
import sys
import unicodedata

from fusepy import FUSE, FuseOSError, Operations

FIELDS = ["st_" + field for field in "atime ctime gid ino mode mtime nlink size uid".split()]


def folded(name):
    return unicodedata.normalize("NFC", name).lower()


class Share(Operations):
    use_ns = True

    def __init__(self, directory, switches):
        self.directory = directory
        self.switches = switches

    def __call__(self, operation, *args):
        refused = {"chmod": errno.EPERM, "fsyncdir": errno.EINVAL, "symlink": errno.ENOSYS}
        if self.switches.get(operation) == "refused":
            raise FuseOSError(refused[operation])
        return super().__call__(operation, *args)

    def real(self, path):
        """The path of the entry to which a path of the share leads."""
        found = self.directory
        for name in filter(None, path.split("/")):
            if self.switches.get("names") == "alike" and os.path.isdir(found):
                same = [other for other in os.listdir(found) if folded(other) == folded(name)]
                name = (same or [name])[0]
            found = os.path.join(found, name)
        return found

    def getattr(self, path, fh=None):
        status = os.lstat(self.real(path)) if fh is None else os.fstat(fh)
        found = {field: getattr(status, field) for field in FIELDS}
        for field in ("st_atime", "st_ctime", "st_mtime"):
            found[field] = getattr(status, field + "_ns")
        kind = stat.S_IFMT(status.st_mode)
        mode = self.switches.get({stat.S_IFREG: "files", stat.S_IFDIR: "dirs"}.get(kind))
        if mode:
            found["st_mode"] = kind | int(mode, 8)
        for owner in ("uid", "gid"):
            found["st_" + owner] = int(self.switches.get(owner, found["st_" + owner]))
        return found

    def chmod(self, path, mode):
        if self.switches.get("chmod") != "ignored":
            os.chmod(self.real(path), mode)

    def chown(self, path, uid, gid):
        os.chown(self.real(path), uid, gid, follow_symlinks=False)

    def create(self, path, mode, fi=None):
        return os.open(self.real(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def open(self, path, flags):
        return os.open(self.real(path), flags & ~os.O_NOFOLLOW)

    def read(self, path, size, offset, fh):
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        return os.pwrite(fh, data, offset)

    def truncate(self, path, length, fh=None):
        os.truncate(self.real(path) if fh is None else fh, length)

    def fsync(self, path, datasync, fh):
        os.fsync(fh)

    def release(self, path, fh):
        os.close(fh)

    def readdir(self, path, fh):
        return [".", "..", *os.listdir(self.real(path))]

    def fsyncdir(self, path, datasync, fh):
        pass

    def mkdir(self, path, mode):
        os.mkdir(self.real(path), mode)

    def rmdir(self, path):
        os.rmdir(self.real(path))

    def unlink(self, path):
        os.unlink(self.real(path))

    def rename(self, old, new):
        os.rename(self.real(old), self.real(new))

    def link(self, target, source):
        os.link(self.real(source), self.real(target), follow_symlinks=False)

    def symlink(self, target, source):
        os.symlink(source, self.real(target))

    def readlink(self, path):
        return os.readlink(self.real(path))

    def utimens(self, path, times=None):
        os.utime(self.real(path), ns=times, follow_symlinks=False)

    def statfs(self, path):
        found = os.statvfs(self.directory)
        return {field: getattr(found, field) for field in ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_files")}


directory, mountpoint, *switches = sys.argv[1:]
os.umask(0)
FUSE(
    Share(directory, dict(switch.split("=") for switch in switches)),
    mountpoint,
    foreground=True,
    nothreads=True,
    allow_other=True,
    default_permissions=True,
    # Nothing is as it was: akv-init may be killed, and the volume looked at from outside.
    use_ino=True,
    attr_timeout=0,
    entry_timeout=0,
)
