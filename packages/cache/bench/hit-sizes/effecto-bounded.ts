import { ours } from "../drawnfromours.js"

export default ours(true)
