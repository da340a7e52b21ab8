'use strict';
/** What can be shown of the coverage: that of all suites, that of one, what only one ran, and what none ran. */
const suiteViews = index => {
  const suites = index.suites || [];
  const view = (label, covered, rest) => ({label, covered, missed: null, stops: null, run: false, ...rest});
  const each = suites.map(({name, carried_from}, s) => view(carried_from ? `${name} (carried forward)` : name, `covered by ${name}`, {
    missed: `not covered by ${name}`, stops: `not covered by ${name}`, of: file => file.suites[s][0], count: (count, counts) => counts[s],
  }));
  // Here only the blocks that the view is about are marked, and the keys go from one to the next.
  const only = suites.length < 2 ? [] : suites.map(({name}, s) => view(`Only ${name}`, `covered by ${name} alone`, {
    stops: `only ${name}`, run: true, of: file => file.suites[s][1], count: (count, counts) => counts.every((own, o) => (o === s) === own > 0) ? counts[s] : null,
  }));
  const none = view('In no suite', 'covered by no suite', {
    stops: 'in no suite', of: file => file.statements - file.all, count: count => count ? null : 0,
  });
  const all = view('All suites', 'covered', {missed: 'not covered', stops: 'uncovered', of: file => file.all, count: count => count});
  return suites.length ? [all, ...each, ...only, none] : [all];
};

/** The blocks of a file as a view shows them. Those that it is not about have no statements. */
const blocksIn = (view, {blocks, suites = []}) => blocks.map((block, b) => {
  const count = view.count(block[5], suites.map(counts => counts[b] || 0));
  return count === null ? [...block.slice(0, 4), 0, 0] : [...block.slice(0, 5), count];
});
