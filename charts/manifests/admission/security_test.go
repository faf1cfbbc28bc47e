package admission_test

import (
	"path/filepath"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	security "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"sallyport/charts/manifests"
)

// TestAdmission_RestrictedPods: the pods meet the restricted pod security standard.
func TestAdmission_RestrictedPods(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := security.LevelVersion{Level: security.LevelRestricted, Version: security.LatestVersion()}
	for _, file := range manifests.ValueFiles(t, values) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			for _, object := range cluster.Render(t, chart, "-f", file) {
				var pod core.PodTemplateSpec
				switch o := object.(type) {
				case *apps.StatefulSet:
					pod = o.Spec.Template
				case *apps.Deployment:
					pod = o.Spec.Template
				default:
					continue
				}
				for _, result := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
					if !result.Allowed {
						t.Errorf("%s: %s", result.ForbiddenReason, result.ForbiddenDetail)
					}
				}
			}
		})
	}
}
