//! Sockets: listeners, connections, shutdown. Knows no API.
