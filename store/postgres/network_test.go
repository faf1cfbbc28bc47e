package postgres_test

import (
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"strings"
	"testing"
	"time"

	"sallyport/store/postgres/postgrestest"
)

// networkVariable says that the test runs in a network of its own: how it has its latency, by the kernel or by the links.
const networkVariable = "SALLYPORT_TEST_NETWORK"

// network makes a network that loses one packet of a hundred and has a latency of 25 ms in each direction. Where the
// kernel has no netem, iptables drops packets, and the links delay what they carry.
const network = `ip link set lo up || exit 3
if tc qdisc add dev lo root netem loss 1% delay 25ms 2>/dev/null; then export SALLYPORT_TEST_NETWORK=kernel
elif iptables -A INPUT -i lo -m statistic --mode random --probability 0.01 -j DROP 2>/dev/null; then export SALLYPORT_TEST_NETWORK=links
else exit 3
fi
exec "$@"`

// TestNetwork_LossAndLatency has a fleet work over a bad network: what holds of faults holds there too, and no replica stops
// deciding for long.
func TestNetwork_LossAndLatency(t *testing.T) {
	postgrestest.SkipIfShort(t)
	if os.Getenv(postgrestest.Variable) == "" {
		t.Skip(postgrestest.Variable + " is not set")
	}
	kind := os.Getenv(networkVariable)
	if kind == "" {
		t.Parallel()
		enterNetwork(t)
		return
	}
	f := startFleet(t)
	if kind == "links" {
		for _, l := range []*link{f.link, f.replicas[0].link, f.replicas[1].link} {
			l.delay(25 * time.Millisecond)
		}
	}
	random := rand.New(rand.NewPCG(1, 1))
	for range trials(1) {
		h := f.try(aFault{"a bad network", func(f *fleet, _ *rand.Rand) { time.Sleep(5 * time.Second) }}, random)
		if len(h.enforced) < 10 {
			t.Errorf("only %d changes were enforced", len(h.enforced))
		}
		t.Logf("%s: %d changes were acknowledged, %d enforced, %d of them although a replica was not reached; %d uncertain", kind, len(h.committed), len(h.enforced), h.fenced, h.uncertain)
	}
}

// enterNetwork runs the test once more, in a network of its own.
func enterNetwork(t *testing.T) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := osexec.Command("unshare", "--net", "sh", "-c", network, "sh", program, "-test.run=^TestNetwork_LossAndLatency$", "-test.v", "-test.timeout=30m").CombinedOutput()
	if err != nil && !strings.Contains(string(out), "--- FAIL") {
		t.Skipf("a network that loses packets needs root, and netem in the kernel or iptables with its statistic match: %v %s", err, out)
	}
	if err != nil {
		t.Errorf("%s", out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "network_test.go") {
			t.Log(strings.TrimSpace(line))
		}
	}
}
