//! Captured packets: names are found however streams are cut, the reference captures score, and the vendor is told by what it sends.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops at the first surprise"
)]

#[path = "inspect/cuts.rs"]
mod cuts;
#[path = "inspect/frames.rs"]
mod frames;
#[path = "inspect/hostile.rs"]
mod hostile;
#[path = "inspect/judged.rs"]
mod judged;
#[path = "inspect/kinds.rs"]
mod kinds;
#[path = "inspect/score.rs"]
mod score;
#[path = "common/tier.rs"]
mod tier;
