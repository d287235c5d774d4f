// A report as a table.

/** @param {import("./rounds.mjs").Report} report */
export function toTable(report) {
  const rows = report.results.map(({ name, nanosecondsPerOp, ratio, processor }) => [
    name,
    time(nanosecondsPerOp.median),
    `${time(nanosecondsPerOp.lowerQuartile)} – ${time(nanosecondsPerOp.upperQuartile)}`,
    name === report.baseline ? "1 ×" : `${times(ratio.median)} ×`,
    name === report.baseline ? "" : `${times(ratio.lowerQuartile)} – ${times(ratio.upperQuartile)}`,
    time(processor.nanosecondsPerOp.median),
    name === report.baseline ? "1 ×" : `${times(processor.ratio.median)} ×`
  ])
  const header = ["contestant", "median", "quartiles", `to ${report.baseline}`, "quartiles", "processor", "to it"]
  const widths = header.map((title, column) =>
    Math.max(...[header, ...rows].map((row) => row[column]?.length ?? title.length))
  )
  /** @param {readonly string[]} row */
  const line = (row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("   ")
      .trimEnd()
  const { machine, versions } = report
  return [
    `${report.bench}: ${report.question}${report.variant === undefined ? "" : ` (${report.variant})`}`,
    "",
    line(header),
    widths.map((width) => "─".repeat(width)).join("   "),
    ...rows.map(line),
    "",
    `time and processor time of the process per operation, ${report.rounds} ${report.rounds === 1 ? "round" : "rounds"}, one process per contestant and round, ${report.milliseconds.warmUp / 1000} s warm-up; Node ${versions.node}`,
    `${machine.processor}, ${machine.cores} cores, ${machine.system}, load ${machine.loadBefore.toFixed(1)} before and ${machine.loadAfter.toFixed(1)} after, ${report.date}`,
    `does not show: ${report.doesNotShow}`,
    ""
  ].join("\n")
}

/** Three digits, whatever the unit. @param {number} nanoseconds */
function time(nanoseconds) {
  for (const [unit, size] of /** @type {const} */ ([
    ["s", 1e9],
    ["ms", 1e6],
    ["µs", 1e3]
  ])) {
    if (nanoseconds >= size) return `${times(nanoseconds / size)} ${unit}`
  }
  return `${times(nanoseconds)} ns`
}

/** @param {number} number */
const times = (number) => (number >= 100 ? number.toFixed(0) : number.toPrecision(3))
