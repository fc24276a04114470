"""The gbk codec: for every character of the BMP that it has, its code point and its bytes."""
for point in range(0x10000):
    try:
        print(point, chr(point).encode("gbk").hex())
    except UnicodeEncodeError:
        pass
