//! libFuzzer on [`podcov_fuzz::memory`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| podcov_fuzz::memory(bytes));
