//! What stories stand on: the binaries, the emulator, a client for it, and a stack on it.

pub mod aws;
pub mod binaries;
pub mod clock;
pub mod cloudvigil;
pub mod emulator;
pub mod ground;
pub mod history_stub;
pub mod poll;
pub mod python;
pub mod role;
pub mod sigv4;
pub mod stack;
pub mod story;
pub mod tap;
pub mod xml;
