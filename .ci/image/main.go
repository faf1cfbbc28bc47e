// Command image writes the container image of a release as an OCI image layout in a tar file, for every architecture, without
// a container engine. The image is that of the Dockerfile: a static binary, certificates of authorities, and a user who is not
// root. The same arguments give the same bytes.
//
//	image -version 1.2.3 -revision HASH -created SECONDS -o FILE amd64=BINARY arm64=BINARY
package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// uid is the user and the group of the server, as in the Dockerfile and the Helm chart.
const uid = 65532

type release struct {
	version, revision string
	created           time.Time
}

func main() {
	var r release
	created := flag.Int64("created", 0, "seconds since 1970: the time of every file, and of the image")
	out := flag.String("o", "", "the tar file to write")
	flag.StringVar(&r.version, "version", "", "of the release")
	flag.StringVar(&r.revision, "revision", "", "of the source")
	flag.Parse()
	r.created = time.Unix(*created, 0).UTC()
	if err := r.write(*out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// write writes the image of every architecture, given as ARCHITECTURE=BINARY, to the file out.
func (r release) write(out string, binaries []string) error {
	var index v1.ImageIndex = empty.Index
	for _, b := range binaries {
		arch, path, ok := strings.Cut(b, "=")
		if !ok {
			return fmt.Errorf("%q is not ARCHITECTURE=BINARY", b)
		}
		img, err := r.image(arch, path)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	index = mutate.IndexMediaType(mutate.Annotations(index, r.labels()).(v1.ImageIndex), types.OCIImageIndex)
	dir, err := os.MkdirTemp("", "image")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if err := l.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": r.version})); err != nil {
		return err
	}
	return r.pack(dir, out)
}

func (r release) labels() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       "sallyport",
		"org.opencontainers.image.description": "An identity-aware reverse proxy that hears over SCIM who belongs",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     r.version,
		"org.opencontainers.image.revision":    r.revision,
		"org.opencontainers.image.created":     r.created.Format(time.RFC3339),
	}
}

// image returns the image of one architecture.
func (r release) image(arch, binary string) (v1.Image, error) {
	base, err := r.baseLayer()
	if err != nil {
		return nil, err
	}
	program, err := r.programLayer(binary)
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err = mutate.Append(img,
		mutate.Addendum{Layer: base, History: v1.History{Created: v1.Time{Time: r.created}, CreatedBy: "certificates and user"}},
		mutate.Addendum{Layer: program, History: v1.History{Created: v1.Time{Time: r.created}, CreatedBy: "sallyport " + r.version}})
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS, file.Created = arch, "linux", v1.Time{Time: r.created}
	file.Config = v1.Config{
		Labels:       r.labels(),
		User:         fmt.Sprintf("%d:%d", uid, uid),
		WorkingDir:   "/etc/sallyport/config",
		Volumes:      map[string]struct{}{"/var/lib/sallyport": {}},
		ExposedPorts: map[string]struct{}{"8443/tcp": {}, "8444/tcp": {}},
		Entrypoint:   []string{"/sallyport"},
		Cmd:          []string{"serve"},
		Env:          []string{"PATH=/"},
		Healthcheck: &v1.HealthConfig{Test: []string{"CMD", "/sallyport", "healthcheck"}, Interval: 10 * time.Second,
			Timeout: 6 * time.Second, StartPeriod: 30 * time.Second, Retries: 3},
	}
	return mutate.ConfigFile(img, file)
}

// baseLayer has what the binary needs beside itself.
func (r release) baseLayer() (v1.Layer, error) {
	authorities, err := authorities()
	if err != nil {
		return nil, err
	}
	return r.layer(
		entry{name: "etc/", mode: 0o755},
		entry{name: "etc/ssl/", mode: 0o755},
		entry{name: "etc/ssl/certs/", mode: 0o755},
		entry{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, content: authorities},
		entry{name: "etc/passwd", mode: 0o644, content: fmt.Appendf(nil, "sallyport:x:%d:%d:sallyport:/var/lib/sallyport:/sbin/nologin\n", uid, uid)},
		entry{name: "etc/group", mode: 0o644, content: fmt.Appendf(nil, "sallyport:x:%d:\n", uid)},
		entry{name: "etc/sallyport/", mode: 0o755},
		entry{name: "etc/sallyport/config/", mode: 0o755},
		entry{name: "run/", mode: 0o755},
		entry{name: "run/sallyport/", mode: 0o700, owner: uid},
		entry{name: "tmp/", mode: 0o1777},
		entry{name: "var/", mode: 0o755},
		entry{name: "var/lib/", mode: 0o755},
		entry{name: "var/lib/sallyport/", mode: 0o700, owner: uid},
	)
}

func (r release) programLayer(binary string) (v1.Layer, error) {
	content, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	return r.layer(entry{name: "sallyport", mode: 0o755, content: content})
}

// authorities returns the certificates of authorities that Go's own list has, as PEM. It leaves out those that are trusted for
// some certificates only, since a file of certificates cannot say so.
func authorities() ([]byte, error) {
	var out bytes.Buffer
	n := 0
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, err
		}
		n++
	}
	if n < 50 {
		return nil, fmt.Errorf("there are only %d authorities", n)
	}
	return out.Bytes(), nil
}

// entry is a file of a layer, or a folder if the name ends with a slash.
type entry struct {
	name    string
	mode    int64
	owner   int
	content []byte
}

func (r release) layer(entries ...entry) (v1.Layer, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		kind := byte(tar.TypeReg)
		if strings.HasSuffix(e.name, "/") {
			kind = tar.TypeDir
		}
		if err := r.add(w, e, kind); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(out.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
}

func (r release) add(w *tar.Writer, e entry, kind byte) error {
	err := w.WriteHeader(&tar.Header{Typeflag: kind, Name: e.name, Mode: e.mode, Uid: e.owner, Gid: e.owner, Size: int64(len(e.content)),
		ModTime: r.created, Format: tar.FormatUSTAR})
	if err != nil {
		return err
	}
	_, err = w.Write(e.content)
	return err
}

// pack writes the files below dir, in the order of their names, to the tar file out.
func (r release) pack(dir, out string) (err error) {
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := tar.NewWriter(f)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return r.add(w, entry{name: filepath.ToSlash(name) + "/", mode: 0o755}, tar.TypeDir)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return r.add(w, entry{name: filepath.ToSlash(name), mode: 0o644, content: content}, tar.TypeReg)
	})
	return errors.Join(err, w.Close())
}
