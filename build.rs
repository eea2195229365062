//! Puts the functions of src/os/allocator.rs before those of the C library, in the program and in no test.

fn main() {
    for function in ["malloc", "calloc", "realloc", "posix_memalign"] {
        println!("cargo::rustc-link-arg-bins=-Wl,--wrap={function}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
