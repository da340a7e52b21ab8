//! libFuzzer on [`podcov_fuzz::source`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| podcov_fuzz::source(bytes));
