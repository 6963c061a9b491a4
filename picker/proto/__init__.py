"""Protobuf messages of the ext_proc protocol, generated from the `.proto` file beside them (`make proto`)."""
