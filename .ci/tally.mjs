// Counts the tests of a vitest JSON report: `tally.mjs REPORT EXIT_CODE` prints "PASSED FAILED". What went wrong
// outside any test (a file that does not load, a run that was cut off, an unhandled error) counts as one failure.
import { readFileSync } from "node:fs";

const [, , path, exitCode] = process.argv;
let passed = 0;
let failed = 0;
try {
  const report = JSON.parse(readFileSync(path, "utf8"));
  passed = report.numPassedTests;
  failed = report.numFailedTests;
  for (const file of report.testResults) {
    if (file.status === "failed" && !file.assertionResults.some((test) => test.status === "failed")) failed++;
  }
} catch {
  failed++;
}
if (failed === 0 && exitCode !== "0") failed++;
console.log(`${passed} ${failed}`);
