"""A stand-in for an oVirt engine: a server that speaks the engine's REST API, version 4, in XML.

It is not an engine: what it knows are lists in a file, and what it does is to change a word in them after a while. It
is for tests of what talks to an engine. Every answer is read by the SDK's own readers there.

    python3 -m engine_server --directory D --fqdn engine.example.com

`D` holds `state.json` (`state`), `faults.json` (`faults`), and the certificates `ca.pem` and `server.pem`. It needs the
standard library only, so that it runs in a small guest.
"""
