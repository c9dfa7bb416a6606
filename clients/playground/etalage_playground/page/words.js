// What the server says in single words, for people.

const REASONS = {
  applied: "Shaped by this shopper’s taste.",
  strength_zero: "Strength 0: exactly the generic look.",
  anonymous: "Nobody in particular: the generic look.",
  no_consent: "This shopper has not consented: the generic look.",
  unknown_user: "Nothing is known of this shopper yet: the generic look.",
  stale: "What is known of this shopper is too old: the generic look.",
  features_unavailable: "The feature store did not answer in time: the generic look.",
  invalid_features: "What is stored of this shopper can’t be used: the generic look.",
};

const SOURCES = { generated: "sampled now", cache: "made earlier", original: "the merchant’s own" };

const DEGRADATIONS = {
  fewer_steps: "Fewer steps than asked for, to be in time.",
  nearest_taste: "An earlier image for the nearest taste, to be in time.",
  original: "The merchant’s own picture, to be in time.",
};

export const title = (id) => id.replaceAll("-", " ").replace(/^./, (c) => c.toUpperCase());
export const spell = (word) => word.replaceAll("_", " ");
export const tellReason = (personalization) =>
  REASONS[personalization.reason] ?? spell(personalization.reason);
export const tellSource = (source) => SOURCES[source] ?? source;
export const tellDegradation = (word) => DEGRADATIONS[word];
export function milliseconds(value) {
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}
export function percent(share, digits = 0) {
  const sign = share < 0 ? "−" : "+";
  if (Math.abs(share) >= 10) return `over ${sign}1000 %`;
  return `${sign}${(Math.abs(share) * 100).toFixed(digits)} %`;
}
export const sum = (numbers) => Object.values(numbers).reduce((a, b) => a + b, 0);

export function tellOrigin(verified) {
  if (verified.manifest === "valid") {
    const { signer } = verified;
    const name = signer ? `, signed by ${signer.organization || signer.name}` : "";
    const trust = { development: " (development certificate)", unknown: " (unknown certificate)" };
    return `Unchanged${name}${trust[signer?.trust] ?? ""}`;
  }
  if (verified.manifest === "tampered") return `Changed since it was signed: ${verified.faults.join(", ")}`;
  if (verified.manifest === "unread") return `Not verified: ${verified.faults.join(", ")}`;
  return "Not signed";
}
