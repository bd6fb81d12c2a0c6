"""The release process behind `tools/release`; see docs/releasing.md."""
