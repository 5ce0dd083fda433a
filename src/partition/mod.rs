//! One partition: the handle that every front-end uses to append, read and wait.
