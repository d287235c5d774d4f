import { building } from "../children.js"

export default building(100_000)
