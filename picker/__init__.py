"""The endpoint picker (EPP): Envoy asks it over ext_proc which model server gets each request."""
