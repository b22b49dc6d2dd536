"""Japan's public holidays by the law's rules: what deploy/data/holidays-jp.csv is made of, and compared with.

Act on National Holidays (Act No. 178 of 1948), article 2 (the days), article 3 (2: a holiday that falls on a Sunday moves to the
next day that is none; 3: a day between two holidays is one), as amended up to 2018, for 2021 to 2027; and the Olympics act
(Act No. 68 of 2015, article 32 (2), as amended by Act No. 68 of 2020), which moved three holidays of 2021. The equinoxes are
fixed a year ahead by the National Astronomical Observatory; the approximation below gives its days from 1980 to 2099. The
list published by the Cabinet Office for each year is https://www8.cao.go.jp/chosei/shukujitsu/syukujitsu.csv.

    python3 tests/lib/japan_holidays.py > deploy/data/holidays-jp.csv
"""
import datetime

YEARS = range(2021, 2028)
HEAD = """\
# Public holidays of Japan, 2021-2027, by the Act on National Holidays; published for each year by the Cabinet Office:
# https://www8.cao.go.jp/chosei/shukujitsu/syukujitsu.csv. Days of 2027 hold once its equinoxes are published (February 2026).
country,day,name
"""


def monday(year, month, n):
    first = datetime.date(year, month, 1)
    return first + datetime.timedelta(days=(7 - first.weekday()) % 7 + 7 * (n - 1))


def equinox(year, month):
    base = {3: 20.8431, 9: 23.2488}[month]
    return datetime.date(year, month, int(base + 0.242194 * (year - 1980) - (year - 1980) // 4))


def named(year):
    """Article 2, with the days of 2021 that the Olympics moved."""
    days = {
        datetime.date(year, 1, 1): '元日',
        monday(year, 1, 2): '成人の日',
        datetime.date(year, 2, 11): '建国記念の日',
        datetime.date(year, 2, 23): '天皇誕生日',
        equinox(year, 3): '春分の日',
        datetime.date(year, 4, 29): '昭和の日',
        datetime.date(year, 5, 3): '憲法記念日',
        datetime.date(year, 5, 4): 'みどりの日',
        datetime.date(year, 5, 5): 'こどもの日',
        monday(year, 9, 3): '敬老の日',
        equinox(year, 9): '秋分の日',
        datetime.date(year, 11, 3): '文化の日',
        datetime.date(year, 11, 23): '勤労感謝の日',
    }
    if year == 2021:
        moved = ((7, 22, '海の日'), (7, 23, 'スポーツの日'), (8, 8, '山の日'))
        days.update({datetime.date(year, m, d): name for m, d, name in moved})
    else:
        days.update({monday(year, 7, 3): '海の日', datetime.date(year, 8, 11): '山の日', monday(year, 10, 2): 'スポーツの日'})
    return days


def holidays(year):
    """{day: name}; the Cabinet Office's list calls days of article 3 simply 休日."""
    one = datetime.timedelta(days=1)
    days = named(year)
    extra = set()
    for day in days:
        if day.weekday() == 6:
            while day in days:
                day += one
            extra.add(day)
    for day in days:
        between = day + one
        if between not in days and between + one in days:
            extra.add(between)
    return dict(sorted({**days, **{day: '休日' for day in extra}}.items()))


def main():
    print(HEAD, end='')
    for year in YEARS:
        for day, name in holidays(year).items():
            print(f'JP,{day},{name}')


if __name__ == '__main__':
    main()
