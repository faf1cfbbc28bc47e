package manifests_test

import (
	"os"
	"path/filepath"
	"testing"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"sallyport/charts/manifests"
)

// lead is where an Ingress or a route leads for some hosts.
type lead struct {
	from, component string // the object
	hosts           []string
	path            string
	port            string // of the container, by name
}

// leads follows every Ingress and route to the port of the container.
func leads(t *testing.T, objects []runtime.Object) []lead {
	t.Helper()
	var found []lead
	for _, object := range objects {
		about, err := meta.Accessor(object)
		if err != nil {
			t.Fatal(err)
		}
		kind := object.GetObjectKind().GroupVersionKind().Kind
		from := lead{from: kind + " " + about.GetName(), component: about.GetLabels()["app.kubernetes.io/component"]}
		switch kind {
		case "Ingress":
			found = append(found, ingressLeads(t, objects, from, object.(*networking.Ingress))...)
		case "HTTPRoute", "TLSRoute":
			found = append(found, routeLeads(t, objects, from, object)...)
		}
	}
	return found
}

func ingressLeads(t *testing.T, objects []runtime.Object, from lead, ingress *networking.Ingress) []lead {
	t.Helper()
	if ingress.Spec.DefaultBackend != nil {
		t.Errorf("%s has a backend for every host", from.from)
	}
	var found []lead
	for _, rule := range ingress.Spec.Rules {
		for _, path := range rule.HTTP.Paths {
			to := from
			to.hosts, to.path = []string{rule.Host}, path.Path
			to.port = containerPort(t, objects, path.Backend.Service.Name, func(p core.ServicePort) bool { return p.Name == path.Backend.Service.Port.Name })
			found = append(found, to)
		}
	}
	return found
}

func routeLeads(t *testing.T, objects []runtime.Object, from lead, route runtime.Object) []lead {
	t.Helper()
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(route)
	if err != nil {
		t.Fatal(err)
	}
	hosts, _, _ := unstructured.NestedStringSlice(fields, "spec", "hostnames")
	parents, _, _ := unstructured.NestedSlice(fields, "spec", "parentRefs")
	if len(hosts) == 0 || len(hosts) > 16 || len(parents) == 0 {
		t.Errorf("%s has %d hosts and %d gateways", from.from, len(hosts), len(parents))
	}
	rules, _, _ := unstructured.NestedSlice(fields, "spec", "rules")
	var found []lead
	for _, rule := range rules {
		matches, _, _ := unstructured.NestedSlice(rule.(map[string]any), "matches")
		backends, _, _ := unstructured.NestedSlice(rule.(map[string]any), "backendRefs")
		for _, backend := range backends {
			b := backend.(map[string]any)
			to := from
			to.hosts = hosts
			if len(matches) == 1 {
				to.path, _, _ = unstructured.NestedString(matches[0].(map[string]any), "path", "value")
			}
			to.port = containerPort(t, objects, b["name"].(string), func(p core.ServicePort) bool { return int64(p.Port) == b["port"] })
			found = append(found, to)
		}
	}
	return found
}

// containerPort returns the name of the port of the container that a port of a Service leads to.
func containerPort(t *testing.T, objects []runtime.Object, service string, is func(core.ServicePort) bool) string {
	t.Helper()
	for _, s := range all[*core.Service](objects) {
		if s.Name != service {
			continue
		}
		for _, port := range s.Spec.Ports {
			if is(port) {
				return port.TargetPort.StrVal
			}
		}
	}
	t.Errorf("no Service %s has the port that is asked for", service)
	return ""
}

func checkExposure(t *testing.T, objects []runtime.Object, scim bool) []lead {
	t.Helper()
	found := leads(t, objects)
	for _, l := range found {
		want := "applications"
		if l.component == "scim" && scim {
			want = "scim"
		}
		if l.port != want {
			t.Errorf("%s leads to %s", l.from, l.port)
		}
		if l.component == "scim" && len(l.hosts) != 1 {
			t.Errorf("%s is for the hosts %v", l.from, l.hosts)
		}
	}
	for _, s := range all[*core.Service](objects) {
		for _, port := range s.Spec.Ports {
			outward := s.Spec.Type == core.ServiceTypeNodePort || s.Spec.Type == core.ServiceTypeLoadBalancer
			if port.TargetPort.StrVal == "ops" && (outward || s.Spec.ClusterIP != core.ClusterIPNone || len(s.Spec.Ports) != 1 || len(s.Spec.ExternalIPs) != 0) {
				t.Errorf("Service %s leads from outside to the listener for operators", s.Name)
			}
		}
	}
	for _, pod := range pods(objects) {
		if pod.Spec.HostNetwork || pod.Spec.HostPID || pod.Spec.HostIPC {
			t.Error("the pod has the network of its node")
		}
		for _, c := range pod.Spec.Containers {
			for _, p := range c.Ports {
				if p.HostPort != 0 {
					t.Errorf("port %d of %s is a port of the node", p.ContainerPort, c.Name)
				}
			}
		}
	}
	return found
}

// TestManifests_ExposeNothingByAccident: metrics are never reached from outside, and SCIM only by what is for SCIM.
func TestManifests_ExposeNothingByAccident(t *testing.T) {
	each(t, func(t *testing.T, objects []runtime.Object) { checkExposure(t, objects, true) })
}

const plain = `
config: |
  public_url: https://login.example.com
  listen: {public: 0.0.0.0:8080, scim: 0.0.0.0:8444, ops: 0.0.0.0:9090}
  tls: {off: true}
  trusted_proxies: [10.0.0.0/8]
  routes: [{name: a, host: A.example.com}, {name: b, host: "*.apps.example.com"}]
`

const ended = `
config: |
  public_url: https://login.example.com:8443/
  listen: {public: 0.0.0.0:8443, scim: 0.0.0.0:8444, http: 0.0.0.0:8080, ops: 0.0.0.0:9090}
  tls: {cert_file: a, key_file: b}
  trusted_proxies: [10.0.0.0/8]
  routes: [{name: a, host: A.example.com}, {name: b, host: "*.apps.example.com"}]
`

// TestManifests_RoutesAndIngresses: each kind alone, with the hosts of the configuration.
func TestManifests_RoutesAndIngresses(t *testing.T) {
	for name, test := range map[string]struct {
		values string
		scim   bool
		leads  int
		hosts  int
		path   string
	}{
		"ingress":             {"ingress: {enabled: true}" + plain, false, 3, 1, "/"},
		"ingress_https":       {"ingress: {enabled: true, backend: https}" + ended, false, 3, 1, "/"},
		"ingress_passthrough": {"ingress: {enabled: true, backend: passthrough}" + ended, false, 3, 1, "/"},
		"ingress_some_hosts":  {`ingress: {enabled: true, hosts: [x.apps.example.com, "*.example.com"]}` + plain, false, 2, 1, "/"},
		"ingress_scim":        {"ingress: {scim: {enabled: true, host: scim.example.com}}" + plain, true, 1, 1, "/scim"},
		"http_route":          {"httpRoute: {enabled: true, parentRefs: [{name: public}]}" + plain, false, 1, 3, "/"},
		"http_route_https":    {"httpRoute: {enabled: true, backend: https, parentRefs: [{name: public}]}" + ended, false, 1, 3, "/"},
		"http_route_scim":     {"httpRoute: {parentRefs: [{name: public}], scim: {enabled: true, hostname: scim.example.com}}" + plain, true, 1, 1, "/scim"},
		"tls_route":           {"tlsRoute: {enabled: true, parentRefs: [{name: public}]}" + ended, false, 1, 3, ""},
		"tls_route_scim":      {"tlsRoute: {scim: {enabled: true, hostname: scim.example.com, parentRefs: [{name: public}]}}" + ended, true, 1, 1, ""},
		"scim_on_public":      {"ingress: {enabled: true, allowScim: true}" + plain + "  scim: {on_public: true}\n", false, 3, 1, "/"},
		"scim_elsewhere":      {"ingress: {enabled: true, hosts: [a.example.com]}" + plain + "  scim: {on_public: true}\n", false, 1, 1, "/"},
		"beside_each_other":   {"ingress: {enabled: true}\nhttpRoute: {enabled: true, parentRefs: [{name: public}]}" + plain, false, 4, 0, "/"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "values.yaml")
			if err := os.WriteFile(file, []byte(test.values), 0o600); err != nil {
				t.Fatal(err)
			}
			found := checkExposure(t, helm(t).Render(t, manifests.Chart, "-f", file), test.scim)
			if len(found) != test.leads {
				t.Errorf("got %+v, want %d of them", found, test.leads)
			}
			for _, l := range found {
				if test.hosts != 0 && len(l.hosts) != test.hosts || l.path != test.path {
					t.Errorf("got %+v, want %d hosts and path %q", l, test.hosts, test.path)
				}
			}
		})
	}
}
