// The bench's rows as a table, each with its ratio to the row that is marked as the base.

export function renderRows(rows) {
  const base = rows.find((row) => row.base && row.problem === undefined);
  const lines = rows.map((row) => {
    if (row.problem !== undefined) return [row.name, "", "", "", "", row.problem];
    if (row.text !== undefined) return [row.name, "", "", "", "", row.text];
    const ratio = (key) => (row[key] / base[key]).toFixed(2);
    return [
      row.name,
      `${row.cpuSeconds.toFixed(2)} s`,
      `${row.wallSeconds.toFixed(2)} s`,
      `${row.peakMegabytes.toFixed(0)} MB`,
      base ? `${ratio("cpuSeconds")}x CPU, ${ratio("peakMegabytes")}x memory` : "",
      row.limit ? `limit ${row.limit}` : "",
    ];
  });
  const table = [["", "CPU", "wall", "peak", "to diagnose, cached", ""], ...lines];
  const widths = table[0].map((_, column) => Math.max(...table.map((line) => line[column].length)));
  return table
    .map((line) =>
      line.map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0]) : column === 5 ? cell : cell.padStart(widths[column]),
      ),
    )
    .map((line) => line.join("  ").trimEnd())
    .join("\n");
}
