# Makes a machine a node of the service: each keeps what is written to it, and hands it to the other one.
mkdir -p /srv/kv/cgi-bin /srv/kv/data

# GET ?KEY answers with a value, POST ?KEY takes one; POST ?KEY&copy is from the other node.
cat >/srv/kv/cgi-bin/kv <<'EOF'
#!/bin/sh
key=${QUERY_STRING%%&*}
if [ "$REQUEST_METHOD" = POST ]; then
    head -c "$CONTENT_LENGTH" >"/srv/kv/data/$key"
    if [ "$QUERY_STRING" = "$key" ]; then
        [ "$(hostname)" = primary ] && other=standby || other=primary
        # Without the other node the service goes on.
        timeout 3 wget -q -O - --post-file "/srv/kv/data/$key" "http://$other:8080/cgi-bin/kv?$key&copy" >&2
    fi
fi
if [ -e "/srv/kv/data/$key" ]; then
    printf 'Content-Type: text/plain\r\n\r\n'
    cat "/srv/kv/data/$key"
else
    printf 'Status: 404 Not Found\r\n\r\n'
fi
EOF

# kv get KEY, kv set KEY VALUE: by the first node that answers, which may wait for the other one itself.
cat >/usr/bin/kv <<'EOF'
#!/bin/sh
for node in $(hostname) primary standby; do
    timeout 6 wget -q -O - ${3:+--post-data="$3"} "http://$node:8080/cgi-bin/kv?$2" && exit
done
exit 1
EOF

chmod +x /srv/kv/cgi-bin/kv /usr/bin/kv
httpd -p 8080 -h /srv/kv
