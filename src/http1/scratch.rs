//! One read buffer a thread.
//!
//! A connection that waits holds no buffer: it reads here first, and keeps only what arrived. A
//! read is always followed by its copy or its write before anything else of the thread runs.

use std::cell::RefCell;

/// Bytes that one read can bring.
pub const SIZE: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SIZE].into_boxed_slice());
}

/// Lends the buffer. `use_it` must not lend it again.
pub fn with<T>(use_it: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| use_it(buffer))
}
