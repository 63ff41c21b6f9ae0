//! The delivery engine: keeps batches, sends them, understands the answer, sends again what must be sent again, and
//! balances the books.
//!
//! Promises: accepted = delivered + refused + lost + spooled + in flight.
//! Never: knows what a record is.

pub mod body;
pub mod books;
