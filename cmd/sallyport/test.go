package main

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"sallyport/access"
	"sallyport/config"
)

func testCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "test [FILE...]",
		Short: "Run the tests in the configuration file and in FILEs against its rules",
		Long: "Run the tests in the configuration file and in FILEs against the rules of the configuration file, whether they are in\n" +
			"force or not. A FILE has tests: as its only key. Tests about users who were pushed ask the running server's directory.\n" +
			"Exits with 2 if a test fails.",
		Example: "  sallyport test\n" +
			"  sallyport test --junit report.xml more.yaml",
		Annotations: exits(exitDenied, "a test fails"),
	}
	junit := c.Flags().String("junit", "", "a `FILE` to which the results are written as JUnit XML too")
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		ask, err := readTests(configPath(cmd), args)
		if err != nil {
			return err
		}
		client, err := newControlClient(cmd)
		if err != nil {
			return err
		}
		var results []access.Result
		if err := client.call(cmd.Context(), http.MethodPost, "/access/test", ask, &results); err != nil {
			return err
		}
		if *junit != "" {
			if err := writeJUnit(*junit, results); err != nil {
				return err
			}
		}
		return printResults(cmd, results)
	}
	return c
}

func readTests(path string, files []string) (ask testRequest, err error) {
	text, rules, err := config.ReadRules(path)
	if err != nil {
		return ask, err
	}
	if len(rules.Tests) == 0 && len(files) == 0 {
		return ask, fmt.Errorf("there are no tests: %s has no key tests, and no file with tests is named", path)
	}
	ask.Config = namedText{path, string(text)}
	for _, file := range files {
		data, err := config.ReadTests(file)
		if err != nil {
			return ask, err
		}
		ask.Tests = append(ask.Tests, namedText{file, string(data)})
	}
	return ask, nil
}

func printResults(cmd *cobra.Command, results []access.Result) error {
	t := table{heads: []string{"result", "test", "want", "got"}, values: results}
	for _, r := range results {
		result := "ok"
		if !r.OK {
			result = "FAIL"
		}
		t.rows = append(t.rows, []string{result, r.Case, r.Want, r.Got})
	}
	if err := printTable(cmd, t); err != nil {
		return err
	}
	if n := len(access.Failed(results)); n > 0 {
		return fmt.Errorf("%w: %d of %d tests fail", errDenied, n, len(results))
	}
	return nil
}

// junitSuite is the root of a JUnit report.
type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Failure *junitFailure `xml:"failure"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
}

func writeJUnit(path string, results []access.Result) error {
	suite := junitSuite{Name: "sallyport", Tests: len(results), Failures: len(access.Failed(results))}
	for _, r := range results {
		c := junitCase{Name: r.Case}
		if !r.OK {
			c.Failure = &junitFailure{fmt.Sprintf("want %s, got %s", r.Want, r.Got)}
		}
		suite.Cases = append(suite.Cases, c)
	}
	data, err := xml.MarshalIndent(suite, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append([]byte(xml.Header), append(data, byte(10))...), 0o600)
}
