package main

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v4"

	"sallyport/config"
	"sallyport/store/postgres"
)

// dashboard is the part of a dashboard of Grafana that asks for metrics.
type dashboard struct {
	file   string
	UID    string
	Title  string
	Panels []struct {
		Title   string
		Targets []struct{ Expr, LegendFormat string }
	}
	Templating struct{ List []struct{ Definition string } }
}

// dashboards returns the dashboards of deploy/grafana.
func dashboards(t *testing.T) (list []dashboard) {
	t.Helper()
	files, err := filepath.Glob("../../deploy/grafana/*.json")
	if err != nil || len(files) != 4 {
		t.Fatalf("%d dashboards, %v", len(files), err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		d := dashboard{file: filepath.Base(path)}
		decodeJSON(t, string(text), &d)
		list = append(list, d)
	}
	return list
}

// alertRule is a rule of deploy/prometheus/alerts.yaml.
type alertRule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

// alertRules returns the rules of deploy/prometheus/alerts.yaml.
func alertRules(t *testing.T) []alertRule {
	t.Helper()
	text, err := os.ReadFile("../../deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []alertRule } }
	if err := yaml.Unmarshal(text, &file); err != nil || len(file.Groups) != 1 {
		t.Fatalf("alerts.yaml has %d groups, %v", len(file.Groups), err)
	}
	return file.Groups[0].Rules
}

// labelsOfMetrics returns the labels of every metric that a server can report, whatever its store is, and whether it is a histogram.
func labelsOfMetrics(t *testing.T) map[string][]string {
	t.Helper()
	w := newWorld(t)
	file, err := config.Load(w.dir + "/sallyport.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := openServer(t.Context(), w.dir+"/sallyport.yaml", file, true, newSuccession("", nil), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.components.close()
	out := make(chan *prometheus.Desc, 1000)
	s.registry.Describe(out)
	postgres.Describe(out)
	close(out)
	pattern := regexp.MustCompile(`fqName: "([^"]*)".*constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}`)
	metrics := map[string][]string{"up": nil}
	for d := range out {
		m := pattern.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("the description %s has another form", d)
		}
		names := metrics[m[1]]
		for label := range strings.SplitSeq(m[2]+","+m[3], ",") {
			if label, _, _ = strings.Cut(label, "="); label != "" {
				names = append(names, label)
			}
		}
		metrics[m[1]] = names
	}
	return metrics
}

var (
	selector  = regexp.MustCompile(`\b((?:sallyport|go|process)_[a-z0-9_]+|up)\b(\{[^}]*\})?`)
	matcher   = regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)"([^"]*)"`)
	grouping  = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right) \(([^)]*)\)`)
	legend    = regexp.MustCompile(`\{\{ *(?:\$labels\.)?([a-z_]+) *\}\}`)
	variables = regexp.MustCompile(`\$[a-z_]+`)
)

// checkQuery demands that a query asks for metrics that exist, by labels that they have, and that its legend names labels
// that its result has. It returns the metrics.
func checkQuery(metrics map[string][]string, expr, text string) (used []string, err error) {
	has := []string{"job", "instance"}
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		name, of := m[1], []string{"job", "instance"}
		if _, ok := metrics[name]; !ok {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base, ok := strings.CutSuffix(m[1], suffix); ok {
					name = base
				}
			}
		}
		labels, ok := metrics[name]
		if !ok {
			return nil, fmt.Errorf("there is no metric %s", m[1])
		}
		if strings.HasSuffix(m[1], "_bucket") {
			of = append(of, "le")
		}
		if name == "go_gc_duration_seconds" {
			of = append(of, "quantile")
		}
		of = append(of, labels...)
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(of, l[1]) {
				return nil, fmt.Errorf("%s has no label %s", m[1], l[1])
			}
		}
		has, used = append(has, of...), append(used, name)
	}
	if len(used) == 0 {
		return nil, fmt.Errorf("it asks for no metric")
	}
	var groups []string
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(g[1], ",") {
			if label = strings.TrimSpace(label); !slices.Contains(has, label) {
				return nil, fmt.Errorf("no metric of it has the label %s", label)
			}
			groups = append(groups, label)
		}
	}
	if groups != nil || strings.Contains(expr, "sum(") || strings.Contains(expr, "max(") {
		has = groups
	}
	for _, l := range legend.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(has, l[1]) {
			return nil, fmt.Errorf("its result has no label %s", l[1])
		}
	}
	return used, nil
}

// TestDashboards_AskForWhatIsExported: every query of every dashboard and alert asks for metrics and labels that exist, and
// every metric of ours is shown by a dashboard.
func TestDashboards_AskForWhatIsExported(t *testing.T) {
	metrics := labelsOfMetrics(t)
	shown, titles := map[string]bool{}, map[string]bool{}
	for _, d := range dashboards(t) {
		if d.UID != "sallyport-"+strings.TrimSuffix(d.file, ".json") || titles[d.Title] {
			t.Errorf("%s has the uid %s and the title %s", d.file, d.UID, d.Title)
		}
		titles[d.Title] = true
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				used, err := checkQuery(metrics, q.Expr, q.LegendFormat)
				if err != nil {
					t.Errorf("%s, %s: %v: %s", d.file, p.Title, err, q.Expr)
				}
				for _, name := range used {
					shown[name] = true
				}
				for _, v := range variables.FindAllString(q.Expr, -1) {
					if !slices.Contains([]string{"$job", "$instance", "$route", "$__rate_interval", "$_"}, v) && !strings.HasPrefix(v, "$__rate") {
						t.Errorf("%s, %s: there is no variable %s", d.file, p.Title, v)
					}
				}
			}
		}
		for _, v := range d.Templating.List {
			if v.Definition == "" {
				continue
			}
			if _, err := checkQuery(metrics, v.Definition, ""); err != nil {
				t.Errorf("%s: %v: %s", d.file, err, v.Definition)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		if strings.HasPrefix(name, "sallyport_") && !shown[name] {
			t.Errorf("no dashboard shows %s", name)
		}
	}
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	alerts := map[string]bool{}
	for _, r := range alertRules(t) {
		if _, err := checkQuery(metrics, r.Expr, r.Annotations["summary"]); err != nil {
			t.Errorf("%s: %v: %s", r.Alert, err, r.Expr)
		}
		if r.Annotations["summary"] == "" || r.Annotations["action"] == "" || !strings.HasPrefix(r.Alert, "Sallyport") || alerts[r.Alert] ||
			!slices.Contains([]string{"critical", "warning"}, r.Labels["severity"]) {
			t.Errorf("%s lacks a summary, an action, a severity or a name of its own", r.Alert)
		}
		if alerts[r.Alert] = true; !strings.Contains(string(page), "`"+r.Alert+"`") {
			t.Errorf("docs/operations.md does not name %s", r.Alert)
		}
	}
}

// TestDashboards_CheckFindsFaults: a query for what does not exist is found.
func TestDashboards_CheckFindsFaults(t *testing.T) {
	metrics := map[string][]string{"sallyport_a_total": {"route"}, "sallyport_b_seconds": nil}
	for _, c := range []struct{ expr, legend string }{
		{"sallyport_c", ""}, {"1", ""}, {`sallyport_a_total{rout="x"}`, ""}, {"sum by (rout) (sallyport_a_total)", ""}, {"sallyport_a_total_bucket_x", ""},
		{"sum by (route) (sallyport_a_total)", "{{reason}}"}, {"sum(sallyport_a_total)", "{{route}}"}, {"sum by (le) (sallyport_a_total)", ""},
	} {
		if used, err := checkQuery(metrics, c.expr, c.legend); err == nil {
			t.Errorf("%s with the legend %q is accepted, as asking for %v", c.expr, c.legend, used)
		}
	}
	for _, c := range []struct{ expr, legend string }{
		{`sum by (route) (rate(sallyport_a_total{job=~"$job",route="x"}[5m]))`, "{{route}}"}, {"sallyport_a_total", "{{route}} {{instance}}"},
		{"histogram_quantile(0.9, sum by (le) (rate(sallyport_b_seconds_bucket[1h])))", "p90"},
	} {
		if _, err := checkQuery(metrics, c.expr, c.legend); err != nil {
			t.Errorf("%s: %v", c.expr, err)
		}
	}
}

// TestDashboards_OfChart: the chart has the dashboards and alerts of deploy, which it cannot read itself.
func TestDashboards_OfChart(t *testing.T) {
	same := func(ours, charts string) {
		want, err := os.ReadFile("../../deploy/" + ours)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile("../../charts/sallyport/files/" + charts); string(got) != string(want) {
			t.Errorf("charts/sallyport/files/%s is not deploy/%s; copy it", charts, ours)
		}
	}
	same("prometheus/alerts.yaml", "alerts.yaml")
	for _, d := range dashboards(t) {
		same("grafana/"+d.file, d.file)
	}
}

// queriesOf returns the queries of a dashboard by panel, as Grafana sends them with everything selected.
func queriesOf(d dashboard) (list []struct{ panel, expr string }) {
	all := strings.NewReplacer("$__rate_interval", "10s", "$job", ".*", "$instance", ".*", "$route", ".*")
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			list = append(list, struct{ panel, expr string }{p.Title, all.Replace(q.Expr)})
		}
	}
	return list
}
