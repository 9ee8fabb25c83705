//! Gate (stub).
