package quill

import (
	"os"
	"testing"
)

// The simulator with transactions: the same producer and cluster, and a coordinator
// (simulator_coordinator_test.go); an application that makes the calls (_txncalls), schedules of its own
// (_txndraw), and I11 (_atomic).
//
//	QUILL_SIM_TX_SEEDS=20000   run so many (300 if not set)
//	QUILL_SIM_TX_FIRST=500     begin with this one
//	QUILL_SIM_TX_SEED=17       run this one and show what happened
//
// QUILL_SIM_BRIEF, QUILL_SIM_SUMS and QUILL_SIM_KEEP are as for TestSimulator.

func TestSimulatorTransactions(t *testing.T) {
	if one := os.Getenv("QUILL_SIM_TX_SEED"); one != "" {
		simulateLoudly(t, drawTxnSchedule(uint64(simNumber(t, one, 0))))
		return
	}
	simulateAll(t, drawTxnSchedule, simNumber(t, os.Getenv("QUILL_SIM_TX_FIRST"), 1), simNumber(t, os.Getenv("QUILL_SIM_TX_SEEDS"), simDefaultSeeds))
}

func TestSimulatorTransactionsAreRepeatable(t *testing.T) { requireRepeatable(t, drawTxnSchedule) }
