package manifests_test

import (
	"slices"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// pods returns the template of the pods.
func pods(objects []runtime.Object) []core.PodTemplateSpec {
	var templates []core.PodTemplateSpec
	for _, s := range all[*apps.StatefulSet](objects) {
		templates = append(templates, s.Spec.Template)
	}
	for _, d := range all[*apps.Deployment](objects) {
		templates = append(templates, d.Spec.Template)
	}
	return templates
}

// TestManifests_FitTogether: what one object says of another is true, which no type checks.
func TestManifests_FitTogether(t *testing.T) {
	each(t, func(t *testing.T, objects []runtime.Object) {
		templates := pods(objects)
		if len(templates) != 1 {
			t.Fatalf("there are %d workloads", len(templates))
		}
		pod := templates[0]
		checkSelectors(t, objects, pod)
		checkPorts(t, objects, pod)
		checkVolumes(t, objects, pod)
		checkMonitor(t, objects)
		checkScaling(t, objects)
	})
}

// checkSelectors: everything that selects pods selects these.
func checkSelectors(t *testing.T, objects []runtime.Object, pod core.PodTemplateSpec) {
	selectors := map[string]*v1.LabelSelector{}
	for _, o := range all[*apps.StatefulSet](objects) {
		selectors["StatefulSet"] = o.Spec.Selector
		for _, c := range o.Spec.VolumeClaimTemplates {
			if len(c.Labels) != 2 {
				t.Errorf("the labels of a volume claim cannot be changed, and are %v", c.Labels)
			}
		}
	}
	for _, o := range all[*apps.Deployment](objects) {
		selectors["Deployment"] = o.Spec.Selector
	}
	for _, o := range all[*policy.PodDisruptionBudget](objects) {
		selectors["PodDisruptionBudget"] = o.Spec.Selector
	}
	for _, o := range all[*networking.NetworkPolicy](objects) {
		selectors["NetworkPolicy"] = &o.Spec.PodSelector
	}
	for _, o := range all[*core.Service](objects) {
		selectors["Service "+o.Name] = &v1.LabelSelector{MatchLabels: o.Spec.Selector}
	}
	for _, o := range pod.Spec.TopologySpreadConstraints {
		if o.LabelSelector != nil {
			selectors["spread over "+o.TopologyKey] = o.LabelSelector
		}
	}
	for name, s := range selectors {
		selector, err := v1.LabelSelectorAsSelector(s)
		if err != nil || selector.Empty() || !selector.Matches(labels.Set(pod.Labels)) {
			t.Errorf("%s selects %v, and the pod has %v (%v)", name, s, pod.Labels, err)
		}
	}
}

// checkPorts: each name of a port is that of one port of Sallyport's container.
func checkPorts(t *testing.T, objects []runtime.Object, pod core.PodTemplateSpec) {
	var names []string
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if slices.Contains(names, p.Name) || len(p.Name) > 15 {
				t.Errorf("port %s is there twice, or its name is too long", p.Name)
			}
			names = append(names, p.Name)
		}
	}
	has := func(who, name string) {
		if !slices.Contains(names, name) {
			t.Errorf("%s names port %q, which is none of %v", who, name, names)
		}
	}
	for _, s := range all[*core.Service](objects) {
		for _, p := range s.Spec.Ports {
			has("Service "+s.Name, p.TargetPort.StrVal)
		}
	}
	for _, n := range all[*networking.NetworkPolicy](objects) {
		for _, rule := range n.Spec.Ingress {
			for _, p := range rule.Ports {
				has("NetworkPolicy", p.Port.StrVal)
			}
		}
	}
	server := pod.Spec.Containers[0]
	for _, probe := range []*core.Probe{server.StartupProbe, server.ReadinessProbe, server.LivenessProbe} {
		if port := probe.HTTPGet.Port.StrVal; port != "ops" {
			t.Errorf("a probe asks port %s", port)
		}
	}
}

// checkVolumes: each mount has its volume, and every volume is mounted.
func checkVolumes(t *testing.T, objects []runtime.Object, pod core.PodTemplateSpec) {
	used := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		if _, ok := used[v.Name]; ok {
			t.Errorf("volume %s is there twice", v.Name)
		}
		used[v.Name] = false
		if v.ConfigMap != nil && v.Name == "config" {
			found := slices.ContainsFunc(all[*core.ConfigMap](objects), func(c *core.ConfigMap) bool { return c.Name == v.ConfigMap.Name })
			if !found {
				t.Errorf("there is no ConfigMap %s", v.ConfigMap.Name)
			}
		}
	}
	for _, s := range all[*apps.StatefulSet](objects) {
		for _, c := range s.Spec.VolumeClaimTemplates {
			if _, ok := used[c.Name]; ok {
				t.Errorf("volume %s is a claim too", c.Name)
			}
			used[c.Name] = false
		}
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		paths := map[string]bool{}
		for _, m := range c.VolumeMounts {
			if _, ok := used[m.Name]; !ok || paths[m.MountPath] {
				t.Errorf("%s mounts %s at %s", c.Name, m.Name, m.MountPath)
			}
			used[m.Name], paths[m.MountPath] = true, true
		}
	}
	for name, mounted := range used {
		if !mounted {
			t.Errorf("nothing mounts %s", name)
		}
	}
}

// checkMonitor: Prometheus finds the Service with metrics, and no other.
func checkMonitor(t *testing.T, objects []runtime.Object) {
	for _, m := range all[*monitoring.ServiceMonitor](objects) {
		selector, err := v1.LabelSelectorAsSelector(&m.Spec.Selector)
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, s := range all[*core.Service](objects) {
			if selector.Matches(labels.Set(s.Labels)) {
				found = append(found, s.Name)
			}
		}
		if !slices.Equal(found, []string{"sallyport-ops"}) || !slices.Equal(m.Spec.NamespaceSelector.MatchNames, []string{"sallyport"}) {
			t.Errorf("the ServiceMonitor finds %v in %v", found, m.Spec.NamespaceSelector)
		}
	}
}

func checkScaling(t *testing.T, objects []runtime.Object) {
	for _, h := range all[*autoscaling.HorizontalPodAutoscaler](objects) {
		found := slices.ContainsFunc(objects, func(o runtime.Object) bool {
			return o.GetObjectKind().GroupVersionKind().Kind == h.Spec.ScaleTargetRef.Kind
		})
		if !found || h.Spec.ScaleTargetRef.Name != "sallyport" {
			t.Errorf("the autoscaler scales %v", h.Spec.ScaleTargetRef)
		}
		for _, s := range all[*apps.StatefulSet](objects) {
			if s.Spec.Replicas != nil {
				t.Error("an upgrade would take back what the autoscaler decided")
			}
		}
	}
}
