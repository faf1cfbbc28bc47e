package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the release build (-ldflags "-X main.version=…").
var version = "0.1.0-dev"

// revision is set by the release build too, which does not look at the repository: its result is the same without one.
var revision string

// versionFacts say which binary this is.
type versionFacts struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func ownVersion() versionFacts {
	return versionFacts{version, commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH}
}

func versionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this binary",
		Example: "  sallyport version",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := ownVersion()
			text := fmt.Sprintf("sallyport %s (%s, %s, %s/%s)", v.Version, v.Commit, v.Go, v.OS, v.Arch)
			return printFacts(cmd, text, table{[]string{"version", "commit", "go", "os", "arch"}, [][]string{{v.Version, v.Commit, v.Go, v.OS, v.Arch}}, v})
		},
	}
	addOutputFlag(c)
	return c
}

// commit returns the revision the binary was built from, if the build recorded it.
func commit() string {
	if revision != "" {
		return revision
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown commit"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return "unknown commit"
}
