"""Reads a dotenv file as systemd reads an EnvironmentFile, with the two functions of its library that do so. The second
one drops variables that a service would not get."""

import ctypes
import glob

StringList = ctypes.POINTER(ctypes.c_char_p)


def library_path():
    """Where Debian's libsystemd-shared is, or None. The name ends in systemd's version."""
    places = ("/usr/lib/*/systemd", "/usr/lib*/systemd")
    found = [path for place in places for path in glob.glob(f"{place}/libsystemd-shared-*.so")]
    return found[0] if found else None


class Systemd:
    def __init__(self):
        self.libc = ctypes.CDLL(None)
        self.libc.fopen.restype = ctypes.c_void_p
        self.libc.fclose.argtypes = [ctypes.c_void_p]
        shared = ctypes.CDLL(library_path())
        self.load = shared.load_env_file
        self.load.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(StringList)]
        self.clean = shared.strv_env_clean_with_callback
        self.clean.argtypes = [StringList, ctypes.c_void_p, ctypes.c_void_p]
        self.clean.restype = StringList
        self.free = shared.strv_free
        self.free.argtypes = [StringList]

    def read(self, path):
        stream = self.libc.fopen(str(path).encode(), b"re")
        assert stream, path
        strings = StringList()
        code = self.load(stream, None, ctypes.byref(strings))
        self.libc.fclose(stream)
        if code < 0:
            return {b"error": str(code).encode()}
        found = {}
        if strings:
            strings = self.clean(strings, None, None)
            for string in iter_until_none(strings):
                name, _, value = string.partition(b"=")
                found[name] = value
            self.free(strings)
        return found


def iter_until_none(strings):
    index = 0
    while strings[index] is not None:
        yield strings[index]
        index += 1
