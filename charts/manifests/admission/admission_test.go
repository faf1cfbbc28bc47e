// Package admission_test has the API server's own rules check the manifests of the chart, when they are new and when they
// take the place of those of the chart before.
package admission_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	autoscalingvalidation "k8s.io/kubernetes/pkg/apis/autoscaling/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkingvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"

	"sallyport/charts/manifests"
)

var (
	cluster = manifests.Helm{Version: "1.37"}
	pods    = corevalidation.PodValidationOptions{}
)

const (
	chart  = "../" + manifests.Chart
	values = "../" + manifests.Values
	former = "../testdata/sallyport-0.1.0.tgz" // of 2026-11-29, before Ingress and routes
)

// stored returns an object as the API server has it once defaults are set, and nil for kinds that are not Kubernetes' own.
func stored(t *testing.T, object runtime.Object) runtime.Object {
	t.Helper()
	kind := object.GetObjectKind().GroupVersionKind()
	if !legacyscheme.Scheme.Recognizes(kind) {
		return nil
	}
	object = object.DeepCopyObject()
	legacyscheme.Scheme.Default(object)
	internal, err := legacyscheme.Scheme.ConvertToVersion(object, schema.GroupVersion{Group: kind.Group, Version: runtime.APIVersionInternal})
	if err != nil {
		t.Fatal(err)
	}
	about, err := meta.Accessor(internal)
	if err != nil {
		t.Fatal(err)
	}
	about.SetResourceVersion("1")
	if about.GetNamespace() == "" {
		about.SetNamespace("sallyport")
	}
	if service, ok := internal.(*core.Service); ok {
		allocate(service)
	}
	return internal
}

// allocate gives a Service what the API server allocates for it: addresses, and the port by which load balancers find nodes.
func allocate(s *core.Service) {
	addresses := map[core.IPFamily]string{core.IPv4Protocol: "192.0.2.1", core.IPv6Protocol: "2001:db8::1"}
	if len(s.Spec.IPFamilies) == 0 {
		s.Spec.IPFamilies = []core.IPFamily{core.IPv4Protocol}
	}
	if s.Spec.IPFamilyPolicy == nil {
		policy := core.IPFamilyPolicySingleStack
		s.Spec.IPFamilyPolicy = &policy
	}
	for _, family := range s.Spec.IPFamilies {
		switch s.Spec.ClusterIP {
		case core.ClusterIPNone:
			s.Spec.ClusterIPs = []string{core.ClusterIPNone}
		default:
			s.Spec.ClusterIPs = append(s.Spec.ClusterIPs, addresses[family])
		}
	}
	s.Spec.ClusterIP = s.Spec.ClusterIPs[0]
	if s.Spec.Type == core.ServiceTypeLoadBalancer && s.Spec.ExternalTrafficPolicy == core.ServiceExternalTrafficPolicyLocal {
		s.Spec.HealthCheckNodePort = 31000
	}
}

// create returns what the API server has against a new object.
func create(t *testing.T, object runtime.Object) field.ErrorList {
	t.Helper()
	switch o := object.(type) {
	case *apps.StatefulSet:
		return appsvalidation.ValidateStatefulSet(o, appsvalidation.StatefulSetValidationOptions{}, pods)
	case *apps.Deployment:
		return appsvalidation.ValidateDeployment(o, pods)
	case *core.Service:
		return corevalidation.ValidateServiceCreate(o)
	case *core.ConfigMap:
		return corevalidation.ValidateConfigMap(o)
	case *core.ServiceAccount:
		return corevalidation.ValidateServiceAccount(o)
	case *networking.Ingress:
		return networkingvalidation.ValidateIngressCreate(o)
	case *networking.NetworkPolicy:
		return networkingvalidation.ValidateNetworkPolicy(o, networkingvalidation.NetworkPolicyValidationOptions{})
	case *policy.PodDisruptionBudget:
		return policyvalidation.ValidatePodDisruptionBudget(o, policyvalidation.PodDisruptionBudgetValidationOptions{})
	case *autoscaling.HorizontalPodAutoscaler:
		return autoscalingvalidation.ValidateHorizontalPodAutoscaler(o, autoscalingvalidation.HorizontalPodAutoscalerSpecValidationOptions{MinReplicasLowerBound: 1})
	}
	t.Errorf("nothing checks %T", object)
	return nil
}

// update returns what the API server has against an object that takes the place of another.
func update(t *testing.T, object, old runtime.Object) field.ErrorList {
	t.Helper()
	switch o := object.(type) {
	case *apps.StatefulSet:
		return appsvalidation.ValidateStatefulSetUpdate(o, old.(*apps.StatefulSet), appsvalidation.StatefulSetValidationOptions{}, pods)
	case *apps.Deployment:
		errs := appsvalidation.ValidateDeploymentUpdate(o, old.(*apps.Deployment), pods)
		if !equality.Semantic.DeepEqual(o.Spec.Selector, old.(*apps.Deployment).Spec.Selector) {
			errs = append(errs, field.Forbidden(field.NewPath("spec", "selector"), "immutable"))
		}
		return errs
	case *core.Service:
		return corevalidation.ValidateServiceUpdate(o, old.(*core.Service))
	case *core.ConfigMap:
		return corevalidation.ValidateConfigMapUpdate(o, old.(*core.ConfigMap))
	case *core.ServiceAccount:
		return corevalidation.ValidateServiceAccountUpdate(o, old.(*core.ServiceAccount))
	case *networking.Ingress:
		return networkingvalidation.ValidateIngressUpdate(o, old.(*networking.Ingress))
	case *networking.NetworkPolicy:
		return networkingvalidation.ValidateNetworkPolicyUpdate(o, old.(*networking.NetworkPolicy), networkingvalidation.NetworkPolicyValidationOptions{})
	}
	return create(t, object)
}

// TestAdmission_Creates: the API server accepts every manifest.
func TestAdmission_Creates(t *testing.T) {
	for _, file := range manifests.ValueFiles(t, values) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			for _, object := range cluster.Render(t, chart, "-f", file) {
				if o := stored(t, object); o != nil {
					for _, err := range create(t, o) {
						t.Errorf("%s: %v", name(t, o), err)
					}
				}
			}
		})
	}
}

// TestAdmission_Rejects: without it, the other tests would show nothing.
func TestAdmission_Rejects(t *testing.T) {
	file := write(t, "hostAliases: [{ip: nowhere, hostnames: [a]}]\n"+config)
	var found []string
	for _, object := range cluster.Render(t, chart, "-f", file) {
		if o := stored(t, object); o != nil {
			for _, err := range create(t, o) {
				found = append(found, err.Error())
			}
		}
	}
	if !strings.Contains(strings.Join(found, "\n"), "hostAliases[0].ip: Invalid value") {
		t.Errorf("got %q", found)
	}
}

const config = `
config: |
  public_url: https://login.example.com
  listen: {public: 0.0.0.0:8443, scim: 0.0.0.0:8444, ops: 0.0.0.0:9090}
  store: {bolt: {path: /var/lib/sallyport/sallyport.db}}
`

// TestUpgrade_FromFormerChart: the same values lead to objects of the same names, which the API server accepts in the
// place of the former ones, and whose pods are not restarted.
func TestUpgrade_FromFormerChart(t *testing.T) {
	compared := 0
	for _, file := range manifests.ValueFiles(t, values) {
		if _, err := cluster.Template(former, "-f", file); err != nil {
			if !strings.Contains(err.Error(), "not allowed") {
				t.Errorf("%s: %v", file, err)
			}
			continue // it has values that the former chart does not know
		}
		compared++
		for name, flags := range map[string][]string{
			"as_it_is":         {},
			"with_names":       {"--set", "nameOverride=gate"},
			"with_a_full_name": {"--set", "fullnameOverride=gate"},
		} {
			t.Run(filepath.Base(file)+"/"+name, func(t *testing.T) {
				t.Parallel()
				old, err := cluster.Template(former, append(flags, "-f", file)...)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, old, cluster.Render(t, chart, append(flags, "-f", file)...))
			})
		}
	}
	if compared < 7 {
		t.Errorf("only %d files of values are those of the former chart", compared)
	}
}

func compare(t *testing.T, former string, objects []runtime.Object) {
	t.Helper()
	before, err := manifests.Decode(former)
	if err != nil {
		t.Fatal(err)
	}
	after := map[string]runtime.Object{}
	for _, object := range objects {
		after[name(t, object)] = object
	}
	for _, object := range before {
		key := name(t, object)
		if after[key] == nil {
			t.Errorf("%s is gone", key)
			continue
		}
		old, now := stored(t, object), stored(t, after[key])
		if old == nil {
			continue
		}
		for _, err := range update(t, now, old) {
			t.Errorf("%s: %v", key, err)
		}
		if o, n := template(old), template(now); !equality.Semantic.DeepEqual(o, n) {
			t.Errorf("%s: pods would be restarted:\n%+v\n%+v", key, o, n)
		}
		if s, ok := now.(*core.Service); ok && !equality.Semantic.DeepEqual(s.Spec, old.(*core.Service).Spec) {
			t.Errorf("%s changes:\n%+v\n%+v", key, old.(*core.Service).Spec, s.Spec)
		}
	}
	if len(objects) != len(before) {
		t.Errorf("there were %d objects, and are %d", len(before), len(objects))
	}
}

func template(object runtime.Object) *core.PodTemplateSpec {
	switch o := object.(type) {
	case *apps.StatefulSet:
		return &o.Spec.Template
	case *apps.Deployment:
		return &o.Spec.Template
	}
	return nil
}

func name(t *testing.T, object runtime.Object) string {
	t.Helper()
	about, err := meta.Accessor(object)
	if err != nil {
		t.Fatal(err)
	}
	kind := object.GetObjectKind().GroupVersionKind().Kind
	if kind == "" {
		kind = fmt.Sprintf("%T", object)
	}
	return kind + " " + about.GetName()
}

// TestUpgrade_KeepsImmutableFields: what is new in the chart never reaches selectors, claims and names, which cannot change.
func TestUpgrade_KeepsImmutableFields(t *testing.T) {
	before := cluster.Render(t, chart, "-f", write(t, config))
	for name, more := range map[string]string{
		"labels":     "commonLabels: {team: a}\ncommonAnnotations: {a: b}\npodLabels: {tier: b}\nservices: {ops: {labels: {x: z}}}\n",
		"pod":        "podAnnotations: {a: b}\npriorityClassName: high\nhostAliases: [{ip: 192.0.2.1, hostnames: [a]}]\nrevisionHistoryLimit: 1\n",
		"containers": "extraContainers: [{name: a, image: b}]\ninitContainers: [{name: c, image: d}]\nextraVolumes: [{name: v, emptyDir: {}}]\n",
		"service":    "services: {applications: {type: LoadBalancer, loadBalancerClass: example.com/a, nodePort: 30443}, scim: {type: NodePort}}\n",
		"probes":     "probes: {liveness: {timeoutSeconds: 5}}\nterminationGracePeriodSeconds: 300\npodSecurityContext: {fsGroup: null}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			after := map[string]runtime.Object{}
			for _, object := range cluster.Render(t, chart, "-f", write(t, more+config)) {
				after[fmt.Sprintf("%T", object)+nameOf(t, object)] = object
			}
			for _, object := range before {
				now := after[fmt.Sprintf("%T", object)+nameOf(t, object)]
				if now == nil {
					t.Errorf("%s is gone", nameOf(t, object))
					continue
				}
				for _, err := range update(t, stored(t, now), stored(t, object)) {
					t.Errorf("%s: %v", nameOf(t, object), err)
				}
			}
		})
	}
}

func nameOf(t *testing.T, object runtime.Object) string {
	t.Helper()
	about, err := meta.Accessor(object)
	if err != nil {
		t.Fatal(err)
	}
	return about.GetName()
}

// TestUpgrade_ReusedValues: with --reuse-values, Helm renders a chart with the defaults of the former one.
func TestUpgrade_ReusedValues(t *testing.T) {
	mixed := t.TempDir()
	if err := os.CopyFS(mixed, os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../testdata/values-0.1.0.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mixed, "values.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = cluster.Template(mixed, "-f", write(t, config))
	if err == nil || !strings.Contains(err.Error(), "--reset-then-reuse-values") {
		t.Errorf("got %v", err)
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
