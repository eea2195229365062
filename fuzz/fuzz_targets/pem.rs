#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| akv_init_fuzz::targets::pem(data));
