package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cpuTime returns the CPU time of a process and its children (proc(5), fields 14 and 15 of stat).
func cpuTime(pid int) (sum time.Duration) {
	for _, id := range family(pid) {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) > 12 {
			user, _ := strconv.Atoi(fields[11])
			system, _ := strconv.Atoi(fields[12])
			sum += time.Duration(user+system) * time.Second / clockTicks
		}
	}
	return sum
}

const clockTicks = 100 // per second; USER_HZ of Linux on all common platforms

// resident returns the resident memory of a process and its children, in MiB.
func resident(pid int) (sum float64) {
	for _, id := range family(pid) {
		statm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", id))
		if fields := strings.Fields(string(statm)); len(fields) > 1 {
			pages, _ := strconv.Atoi(fields[1])
			sum += float64(pages) * float64(os.Getpagesize()) / (1 << 20)
		}
	}
	return sum
}

// family returns a process and its children.
func family(pid int) []int {
	if pid == 0 {
		return nil
	}
	all := []int{pid}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for word := range strings.FieldsSeq(string(text)) {
			child, _ := strconv.Atoi(word)
			all = append(all, child)
		}
	}
	return all
}
