//! Drivers: they move bytes between the world and the engines. No driver knows another; `sys` lies below them all.

pub mod listen;
pub mod sys;
pub mod upstream;
