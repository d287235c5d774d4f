// Medians and quartiles.

/**
 * The value below which a share of the numbers lies, interpolated between neighbours.
 *
 * @param {readonly number[]} numbers not empty
 * @param {number} share from 0 to 1
 */
export function quantile(numbers, share) {
  const sorted = [...numbers].sort((left, right) => left - right)
  const position = (sorted.length - 1) * share
  const below = sorted[Math.floor(position)] ?? Number.NaN
  const above = sorted[Math.ceil(position)] ?? Number.NaN
  return below + (above - below) * (position - Math.floor(position))
}

/** @param {readonly number[]} numbers not empty */
export const spread = (numbers) => ({
  median: quantile(numbers, 0.5),
  lowerQuartile: quantile(numbers, 0.25),
  upperQuartile: quantile(numbers, 0.75)
})
