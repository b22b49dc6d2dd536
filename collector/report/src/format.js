// How values are written, by the type of their column.
import { texts, reasonText } from './texts.js';

export class Format {
  constructor(lang) {
    this.lang = lang;
    this.t = texts[lang];
    this.numbers = new Intl.NumberFormat(lang, { maximumFractionDigits: 4 });
    this.short = new Intl.NumberFormat(lang, { notation: 'compact', maximumFractionDigits: 1 });
    this.percents = new Intl.NumberFormat(lang, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
    this.changes = new Intl.NumberFormat(lang, { minimumFractionDigits: 1, maximumFractionDigits: 1, signDisplay: 'exceptZero' });
    this.regions = new Intl.DisplayNames(lang, { type: 'region', fallback: 'code' });
    this.country = this.country.bind(this);
    this.countryName = this.countryName.bind(this);
  }

  // Of {en, ja}; anything else as it is.
  text(v) {
    return v && typeof v === 'object' ? v[this.lang] ?? v.en ?? '' : v ?? '';
  }

  countryName(code) {
    try {
      return this.regions.of(code) ?? code;
    } catch {
      return code;
    }
  }

  country(code) {
    if (!code) return this.t.unknown;
    const name = this.countryName(code);
    return name === code ? code : this.lang === 'ja' ? `${name}\uff08${code}\uff09` : `${name} (${code})`;
  }

  // The first day of a bucket, as people call the bucket.
  bucket(day, unit) {
    const [y, m, d] = day.split('-').map(Number);
    if (this.lang === 'ja') {
      return unit === 'month' ? `${y}年${m}月` : unit === 'week' ? `${m}月${d}日の週` : `${y}年${m}月${d}日`;
    }
    const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
    return unit === 'month' ? `${months[m - 1]} ${y}` : unit === 'week' ? `week of ${d} ${months[m - 1]}` : `${d} ${months[m - 1]} ${y}`;
  }

  // The same, short, for an axis.
  tick(day, unit) {
    const [y, m, d] = day.split('-').map(Number);
    if (unit === 'month') return this.lang === 'ja' ? `${y}年${m}月` : this.bucket(day, unit);
    return this.lang === 'ja' ? `${m}/${d}` : `${d} ${this.bucket(day, 'month').slice(0, 3)}`;
  }

  // One value of a column beside others: as many digits behind the point as the column has.
  number(v, column) {
    return column.digits ? v.toLocaleString(this.lang, { minimumFractionDigits: column.digits, maximumFractionDigits: column.digits }) : this.numbers.format(v);
  }

  value(v, column, unit) {
    if (v === null || v === undefined || v === '') {
      if (column.type === 'number' || column.type === 'change' || column.type === 'percent') return '–';
      return column.type === 'port' ? this.t.withheld : column.type === 'country' || column.type === 'network' ? this.t.unknown : '';
    }
    switch (column.type) {
      case 'number': case 'rank': return this.number(v, column);
      case 'change': return `${this.changes.format(v)}%`;
      case 'percent': return `${this.percents.format(v)}%`;
      case 'country': return this.country(v);
      case 'side': return this.t.sides[v] ?? v;
      case 'scope': return this.t.scopes[v] ?? v;
      case 'daykind': return this.t.days[v] ?? v;
      case 'tool': return this.t.tools[v] ?? v;
      case 'bucket': return this.bucket(v, unit);
      case 'network': return v;
      case 'answer': return this.t.answers[v] ?? v;
      case 'about': return this.t.about(parseInt(v, 10));
      case 'yes': return v ? this.t.yes : this.t.no;
      case 'verdict': return this.t.verdicts[v] ?? v;
      case 'reason': return reasonText(v, this.lang, this.countryName);
      default: return String(this.text(v));
    }
  }
}

// Columns of the figure that this language shows, with their place in a row.
export function columnsOf(figure, lang) {
  return figure.columns.map((c, i) => ({ ...c, i })).filter((c) => !c.lang || c.lang === lang);
}

// How many digits behind the point the values of a column have, 4 at most.
export function digitsOf(rows, column) {
  return column.type === 'number' ? Math.min(4, Math.max(0, ...rows.map((r) => (String(r[column.i] ?? '').split('.')[1] ?? '').length))) : 0;
}

export function indexOf(figure, key, lang) {
  const keys = Array.isArray(key) ? key : [key];
  return figure.columns.findIndex((c) => keys.includes(c.key) && (!c.lang || c.lang === lang));
}

export const isNumeric = (c) => ['number', 'change', 'percent', 'rank'].includes(c.type);
