#!/bin/sh
# jib-maven-plugin 3.5.2: it cannot build on a base image with an uncompressed layer.
#
# Expected: `application/vnd.oci.image.layer.v1.tar` is a media type of the OCI image specification that
# every implementation must support, and buildah, umoci and others write such layers. Jib pulls the base and
# adds its own layers. Seen: "No Compressor found for the stream signature". With the same layer as gzip it
# builds.
#
# Reason: jib always unpacks a layer to compute the digest of its content. It detects the compression
# by the first bytes, and plain tar is not in its list.
#
# Consequence: jib cannot use images that a registry or a tool stores uncompressed. Compress them.
# Needs mvn and a JDK.
set -eu

folder=$(mktemp -d)
server=""
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
mkdir -p "$folder/app/target/classes" "$folder/site/v2"
cat >"$folder/app/pom.xml" <<'END'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>demo</groupId>
  <artifactId>demo</artifactId>
  <version>1</version>
</project>
END
# A registry that serves the images uncompressed and compressed.
cat >"$folder/registry.py" <<'END'
import gzip
import hashlib
import http.server
import io
import json
import tarfile

buffer = io.BytesIO()
with tarfile.open(fileobj=buffer, mode="w") as archive:
    archive.addfile(tarfile.TarInfo("file"))
tar = buffer.getvalue()
answers = {}


def entry(media_type, body):
    digest = "sha256:" + hashlib.sha256(body).hexdigest()
    answers[digest] = media_type, body
    return {"mediaType": media_type, "digest": digest, "size": len(body)}


rootfs = {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(tar).hexdigest()]}
config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()
for name, ending, layer in ("plain", "", tar), ("packed", "+gzip", gzip.compress(tar)):
    media_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": entry("application/vnd.oci.image.config.v1+json", config),
        "layers": [entry("application/vnd.oci.image.layer.v1.tar" + ending, layer)],
    }
    answers[name] = media_type, json.dumps(manifest).encode()


class Serving(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        parts = self.path.split("/")
        media_type, body = answers[parts[2] if parts[-2] == "manifests" else parts[-1]]
        self.send_response(200)
        self.send_header("content-type", media_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Serving)
print(server.server_port, flush=True)
server.serve_forever()
END
python3 "$folder/registry.py" >"$folder/port" 2>"$folder/registry.log" &
server=$!
while [ ! -s "$folder/port" ]; do
    kill -0 "$server"
    sleep 0.1
done

build_on() { # image
    mvn --batch-mode --file "$folder/app/pom.xml" -Dmaven.repo.local="$folder/maven" \
        -Duser.home="$folder" com.google.cloud.tools:jib-maven-plugin:3.5.2:buildTar \
        -Djib.allowInsecureRegistries=true -Djib.from.image="127.0.0.1:$(cat "$folder/port")/$1" \
        -Djib.to.image=demo -Djib.container.mainClass=Main >"$folder/$1.log" 2>&1 && echo built || echo failed
}

packed=$(build_on packed)
plain=$(build_on plain)
echo "on a layer that is gzip: $packed; on the same as plain tar: $plain"
grep -o -m 1 'No Compressor found for the stream signature' "$folder/plain.log"
[ "$packed $plain" = "built failed" ] || { tail -20 "$folder/packed.log"; exit 1; }
