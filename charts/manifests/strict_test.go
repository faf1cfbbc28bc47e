package manifests_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"

	"sallyport/charts/manifests"
)

func helm(t *testing.T) manifests.Helm {
	t.Helper()
	version := os.Getenv("KUBE")
	if version == "" {
		t.Fatal("KUBE is not set; run ./test.sh chart")
	}
	return manifests.Helm{Version: version}
}

// each renders the chart with every file of values.
func each(t *testing.T, test func(t *testing.T, objects []runtime.Object)) {
	for _, values := range manifests.ValueFiles(t, manifests.Values) {
		t.Run(filepath.Base(values), func(t *testing.T) {
			t.Parallel()
			test(t, helm(t).Render(t, manifests.Chart, "-f", values))
		})
	}
}

// all returns the objects of one type.
func all[T any](objects []runtime.Object) []T {
	var found []T
	for _, object := range objects {
		if o, ok := object.(T); ok {
			found = append(found, o)
		}
	}
	return found
}

// TestManifests_StrictTypes reads every manifest with the types of one version of Kubernetes.
func TestManifests_StrictTypes(t *testing.T) {
	each(t, func(t *testing.T, objects []runtime.Object) {
		seen := map[string]bool{}
		for _, object := range objects {
			about, err := meta.Accessor(object)
			if err != nil {
				t.Fatal(err)
			}
			kind := object.GetObjectKind().GroupVersionKind().Kind
			key := kind + " " + about.GetNamespace() + "/" + about.GetName()
			if seen[key] {
				t.Errorf("%s is there twice", key)
			}
			seen[key] = true
			if about.GetLabels()["app.kubernetes.io/managed-by"] != "Helm" || about.GetLabels()["app.kubernetes.io/instance"] != "sallyport" {
				t.Errorf("%s has labels %v", key, about.GetLabels())
			}
			if strings.HasSuffix(about.GetName(), "-") || len(about.GetName()) > 63 {
				t.Errorf("%s has a name that Kubernetes rejects", key)
			}
		}
		if len(objects) < 5 {
			t.Errorf("there are only %d objects", len(objects))
		}
	})
}

// TestDecode_UnknownField: without it, the other tests would show nothing.
func TestDecode_UnknownField(t *testing.T) {
	for _, text := range []string{
		"apiVersion: v1\nkind: Service\nspec: {clusterIPP: None}\n",
		"apiVersion: v1\nkind: Service\nspec: {type: ClusterIP, type: NodePort}\n",
		"apiVersion: apps/v1\nkind: StatefulSet\nspec: {template: {spec: {containers: [{name: a, portz: []}]}}}\n",
		"apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nspec: {hosts: [a]}\n",
		"apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nspec: {endpoint: []}\n",
		"apiVersion: v1\nkind: Nothing\n",
	} {
		if objects, err := manifests.Decode(text); err == nil {
			t.Errorf("%q is read as %v", text, objects)
		}
	}
}
