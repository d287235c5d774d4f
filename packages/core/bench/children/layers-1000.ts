import { building } from "../children.js"

export default building(1_000)
