//! libFuzzer on [`podcov_fuzz::text`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| podcov_fuzz::text(bytes));
