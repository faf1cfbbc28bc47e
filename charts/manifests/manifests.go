// Package manifests renders the Helm chart for tests, and reads what it renders with the types of Kubernetes, of the
// Gateway API and of the Prometheus operator. It is a module of its own, so that none of them is in that of the server.
package manifests

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	gatewayalpha2 "sigs.k8s.io/gateway-api/apis/v1alpha2"
	gatewayalpha3 "sigs.k8s.io/gateway-api/apis/v1alpha3"
)

// Chart is the folder of the chart, and Values the files of values that it is tried with.
const (
	Chart  = "../sallyport"
	Values = Chart + "/ci"
)

// Scheme has every kind that the chart may render, as the version of Kubernetes that this module is built with knows it.
var Scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{core.AddToScheme, apps.AddToScheme, networking.AddToScheme, policy.AddToScheme,
		autoscaling.AddToScheme, monitoring.AddToScheme, gateway.Install, gatewayalpha2.Install, gatewayalpha3.Install} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return s
}()

// Helm is a cluster that charts are rendered for.
type Helm struct {
	// Version is the version of Kubernetes, such as 1.34.
	Version string
}

// Template renders the chart, and returns its manifests, or what Helm wrote when it refused.
func (h Helm) Template(chart string, flags ...string) (string, error) {
	program := os.Getenv("HELM")
	if program == "" {
		return "", errors.New("HELM is not set; run ./test.sh chart")
	}
	args := []string{"template", "sallyport", chart, "--namespace", "sallyport", "--kube-version", h.Version + ".0"}
	for _, version := range []string{"v1", "v1alpha3", "v1alpha2"} {
		kind := schema.GroupVersionKind{Group: "gateway.networking.k8s.io", Version: version, Kind: "TLSRoute"}
		if Scheme.Recognizes(kind) {
			args = append(args, "--api-versions", kind.GroupVersion().String()+"/TLSRoute")
		}
	}
	var out, problem bytes.Buffer
	cmd := exec.Command(program, append(args, flags...)...)
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w: %s", err, &problem)
	}
	return out.String(), nil
}

// Render renders the chart and reads its manifests.
func (h Helm) Render(t *testing.T, chart string, flags ...string) []runtime.Object {
	t.Helper()
	text, err := h.Template(chart, flags...)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// Decode reads manifests. A field that a type does not have, or has twice, is an error.
func Decode(text string) ([]runtime.Object, error) {
	decoder := serializer.NewCodecFactory(Scheme, serializer.EnableStrict).UniversalDeserializer()
	documents := yaml.NewDocumentDecoder(io.NopCloser(strings.NewReader(text)))
	var objects []runtime.Object
	buffer := make([]byte, 1<<20)
	for {
		n, err := documents.Read(buffer)
		if err == io.EOF {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		document := buffer[:n]
		if !bytes.Contains(document, []byte("\nkind:")) {
			continue // a comment
		}
		object, _, err := decoder.Decode(document, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("%w in\n%s", err, document)
		}
		objects = append(objects, object)
	}
}

// ValueFiles returns the files of values that the chart accepts.
func ValueFiles(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(folder + "/*.yaml")
	if err != nil || len(files) < 8 {
		t.Fatal(files, err)
	}
	return files
}
