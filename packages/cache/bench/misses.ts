export const MISSES = 5_000

export const validateMisses = (sum: number): void => {
  const wanted = (MISSES * (MISSES - 1)) / 2
  if (sum !== wanted) throw new Error(`the loads add up to ${sum}, not to ${wanted}`)
}
