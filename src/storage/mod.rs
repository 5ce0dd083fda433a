//! Segment logs on disk: append, read, roll, recover, retain; the manifest and the group sync.
