//! libFuzzer on [`podcov_fuzz::coverage`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| podcov_fuzz::coverage(bytes));
