//! The sample application (`tests/websvc`) as the local AWS runs it: its images, and a PostgreSQL for
//! its database.

pub mod image;
pub mod postgres;
pub mod websvc;
